"""Registries in YAML as people write them, from a seed: comments, blank lines, CRLF, quotes, blocks of text, anchors, lists in
brackets and in lines, nested under keys, several documents."""
import random

WORDS = ["alpha", "beta gamma", "tokens/s", "später – jetzt", "a: b", "x # y", "yes", "1.5", "", "it's", '"q"', "日本", "- no", "e\tf"]


class Registry:
    """One registry: `text` and `path`, where the list of entries is in the document `document`."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.line_end = self.random.choice(["\n", "\n", "\r\n"])
        self.anchors = 0
        self.lines = []
        self.comment(0)
        documents = self.random.choice([1, 1, 1, 1, 2])
        self.document = self.random.randrange(documents)
        for number in range(documents):
            if number > 0 or self.random.random() < 0.2:
                self.lines.append("---")
            if number == self.document:
                self.path = self.top()
            else:
                self.lines += ["kind: other", "items: [1, 2]", "notes:", "  - plain"]
            self.comment(0)
        if self.random.random() < 0.1:
            self.lines.append("...")
        text = self.line_end.join(self.lines) + self.line_end
        if self.random.random() < 0.15:
            text = text[:-len(self.line_end)]
        self.text = (b"\xef\xbb\xbf" if self.random.random() < 0.1 else b"") + text.encode()

    def comment(self, indent):
        while self.random.random() < 0.25:
            self.lines.append(self.random.choice(["", " " * indent + "# " + self.random.choice(WORDS), "   # far", "# end of it"]))

    def scalar(self, indent):
        """Text behind a key, and the lines below it."""
        word = self.random.choice(WORDS)
        kind = self.random.randrange(8)
        pad = " " * (indent + 2)
        if kind == 0:
            return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"', []
        if kind == 1:
            return "'" + word.replace("'", "''") + "'", []
        if kind == 2:
            return self.random.choice(["|", ">", "|-", ">-", "|+", ">+", "|2"]), [pad + "text " + word.strip(), "", pad + "more"]
        if kind == 3:
            return "plain text", [pad + "goes on # said" if self.random.random() < 0.5 else pad + "goes on"]
        if kind == 4:
            return "[a, 'b, c', {d: e}]" + self.random.choice(["", " # list"]), []
        if kind == 5:
            self.anchors += 1
            return f"&anchor-{self.anchors} " + self.random.choice(["v", "[1, 2]"]), []
        if kind == 6 and self.anchors > 0:
            return f"*anchor-{self.random.randint(1, self.anchors)}", []
        return self.random.choice(["plain", "3.5", "true", "~", "", "2026-01-01", "x:y"]) + self.random.choice(["", "  # why"]), []

    def item(self, indent, number):
        pad = " " * indent
        if self.random.random() < 0.2:
            self.lines.append(pad + "- {id: " + f"metric:m{number}, name: 'a, b', tags: [x, \"y\"]" + "}" + self.random.choice(["", " # flow"]))
            return
        gap = " " * self.random.choice([1, 1, 1, 3])
        inner = indent + 1 + len(gap)
        keys = ["id"] + self.random.sample(["name", "note", "owner", "compare", "limits", "parts"], self.random.randint(0, 5))
        self.random.shuffle(keys)
        for index, key in enumerate(keys):
            start = pad + "-" + gap if index == 0 else " " * inner
            if key == "id":
                value, below = self.random.choice([f"metric:m{number}", f'"metric:m{number}"', f"'metric:m{number}'"]), []
            elif key == "parts":
                step = self.random.choice([0, 2])
                value, below = "", [" " * (inner + step) + "- part: 1", " " * (inner + step) + "- two"]
            elif key == "limits":
                value, below = "", [" " * (inner + 2) + "low: 1", " " * (inner + 2) + "high: [2,", " " * (inner + 4) + "3]"]
            else:
                value, below = self.scalar(inner)
            self.lines.append(f"{start}{key}: {value}".rstrip(" ") if value else f"{start}{key}:")
            self.lines += below
            self.comment(inner)

    def items(self, indent):
        for number in range(self.random.randint(1, 4)):
            self.item(indent, number)
            self.comment(indent)

    def top(self):
        kind = self.random.randrange(5)
        if kind == 0:
            self.items(self.random.choice([0, 0, 2]))
            return []
        self.lines.append("version: 1 # of the form")
        self.comment(0)
        if kind == 1:
            self.lines += ["registry:", "  owner: me"]
            self.lines.append("  metrics:")
            self.items(self.random.choice([2, 4, 6]))
            path = ["registry", "metrics"]
        else:
            self.lines.append("metrics:" + self.random.choice(["", "  # all of them"]))
            self.items(self.random.choice([0, 2, 4]))
            path = ["metrics"]
        if self.random.random() < 0.5:
            self.lines += ["", "after: {it: [a, b]}", "text: |", "  last"]
        return path
