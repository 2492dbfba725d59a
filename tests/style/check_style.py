#!/usr/bin/env python3
"""Style as a test (STYLE.md): layers, sizes, names, banned words, globals, self-contained headers.

Prints one line per finding and exits 1 if there is any. `--self-test` checks the checker: each rule
must find the violation that is planted for it.
"""
import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile

import check_declarations
import check_texts

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE_LINES_MAX = 800  # of tests and benchmarks
SOURCE_LINES_MAX = 600  # of src/
FUNCTION_LINES_MAX = 70
LINE_COLUMNS_MAX = 100

# What each folder of src/ may include, besides itself (STYLE.md 1, ARCHITECTURE.md).
LOW = {"base", "spec"}
RESULT = LOW | {"measure", "plan", "proto", "data"}
MIDDLE = RESULT | {"result", "store"}
LAYERS = {
    "base": set(),
    "spec": {"base"},
    "data": LOW,
    "measure": LOW,
    "plan": LOW,
    "proto": LOW,
    "result": RESULT,
    "store": LOW | {"result"},
    "telemetry": MIDDLE,
    "client": MIDDLE,
    "observe": MIDDLE | {"telemetry", "client"},
    "drive": MIDDLE | {"client", "observe"},
    "compare": RESULT | {"result"},
    "registry": RESULT | {"result"},
    "export": RESULT | {"result"},
    "hud": RESULT | {"result"},
    "serve": RESULT | {"result"},
    "report": RESULT | {"result", "compare"},
    "engines": LOW | {"data", "proto"},
    "cli": MIDDLE | {"telemetry", "client", "observe", "drive", "compare", "registry", "report", "export", "hud", "serve", "engines"},
}

BANNED_CALLS = re.compile(
    r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|system|popen|rand|srand|alloca|setlocale)\s*\("
)
BANNED_WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
BANNED_FILES = re.compile(r"(^|_)(util|utils|common|misc|helper|helpers)\.[ch]$")
# Only cli/ talks to people; workers may write to their log.
PRINTING = re.compile(r"(?<![\w.>])(printf|puts|putchar|perror|exit|abort)\s*\(")
PRINTING_ALLOWED = {"src/base/status.c": "assert_failed ends the program"}
# Mutable globals, each with its reason.
GLOBALS_ALLOWED = {
    "src/base/buf.c:empty_text": "the shared empty string; never written",
    "src/hud/term.c": "what a handler needs to give the terminal back",
    "src/cli/signals.c": "the flags that signal handlers set, and the pipe they wake",
}
GLOBAL = re.compile(
    r"^(?:static\s+)?(?:volatile\s+)?(?:struct\s+\w+|enum\s+\w+|unsigned|int|char|bool|size_t|"
    r"u?int\d+_t|double|float|sig_atomic_t|pthread_\w+|_Atomic\s*\w*)\s+\*?\s*(\w+)\s*(?:\[[^\]]*\])?\s*(?:=|;)"
)


def strip_comments_and_strings(text):
    """Blanks comments, string and character literals; keeps line breaks."""

    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    return re.sub(
        r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", blank, text, flags=re.S
    )


def check_sizes(path, text, found):
    lines = text.split("\n")
    most = SOURCE_LINES_MAX if path.startswith("src/") else FILE_LINES_MAX
    if len(lines) > most:
        found.append(f"{path}: {len(lines)} lines; at most {most}")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_COLUMNS_MAX:
            found.append(f"{path}:{number}: {len(line)} columns; at most {LINE_COLUMNS_MAX}")


def check_functions(path, code, found):
    """A function body starts with '{' in column 0 (BreakBeforeBraces: Linux) and ends with '}' there."""
    start = None
    for number, line in enumerate(code.split("\n"), 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            if number - start - 1 > FUNCTION_LINES_MAX:
                found.append(
                    f"{path}:{start}: function of {number - start - 1} lines; at most {FUNCTION_LINES_MAX}"
                )
            start = None


def check_layers(path, text, found):
    match = re.match(r"src/(\w+)/", path)
    if not match:
        return
    layer = match.group(1)
    if layer not in LAYERS:
        found.append(f"{path}: folder src/{layer} is in no layer; add it to check_style.py and STYLE.md")
        return
    for number, line in enumerate(text.split("\n"), 1):
        include = re.match(r'\s*#\s*include\s+"(\w+)/', line)
        if include and include.group(1) != layer and include.group(1) not in LAYERS[layer]:
            found.append(f"{path}:{number}: {layer} must not include {include.group(1)}")


def check_words(path, text, code, found):
    for number, line in enumerate(text.split("\n"), 1):
        if BANNED_WORDS.search(line):
            found.append(f"{path}:{number}: leftover marker; an open end is an issue")
    if not path.endswith((".c", ".h")):
        return
    for number, line in enumerate(code.split("\n"), 1):
        for name in BANNED_CALLS.findall(line):
            found.append(f"{path}:{number}: {name} is banned")
        if path.startswith("src/") and not path.startswith("src/cli/") and path not in PRINTING_ALLOWED:
            if PRINTING.search(line):
                found.append(f"{path}:{number}: only cli/ prints or exits")


def check_names(path, found):
    name = os.path.basename(path)
    if BANNED_FILES.search(name):
        found.append(f"{path}: name says nothing; name it after what it does")
    if path.endswith((".c", ".h")) and not re.fullmatch(r"[a-z0-9_]+\.[ch]", name):
        found.append(f"{path}: file names are snake_case")


def check_globals(path, code, found):
    if not path.startswith("src/") or not path.endswith(".c"):
        return
    depth = 0
    for number, line in enumerate(code.split("\n"), 1):
        if depth == 0 and not re.match(r"\s*(typedef|extern|#|const|static const|_Static)", line):
            match = GLOBAL.match(line)
            if match and "(" not in line.split("=")[0] and " const " not in f" {line.split('=')[0]} ":
                key = f"{path}:{match.group(1)}"
                if key not in GLOBALS_ALLOWED and path not in GLOBALS_ALLOWED:
                    found.append(f"{path}:{number}: mutable global '{match.group(1)}'")
        depth += line.count("{") - line.count("}")


def check_flags(path, text, found):
    if os.path.basename(path) != "CMakeLists.txt" and not path.endswith((".cmake", "Presets.json")):
        return
    for number, line in enumerate(text.split("\n"), 1):
        if "-ffast-math" in line or "-Ofast" in line:
            found.append(f"{path}:{number}: fast-math is banned")


def check_probes(found):
    """A probe is one file, and one word in the list: no more and no less."""
    folder = os.path.join(ROOT, "src", "observe")
    defined = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            for probe in re.findall(r"^const struct probe (\w+)_probe = \{", file.read(), re.M):
                defined[probe] = name
    with open(os.path.join(folder, "list.h"), encoding="utf-8") as file:
        listed = re.findall(r"\bX\((\w+)\) *\\?$", file.read().split("PROBE_LIST(X)")[1].split("#define")[0], re.M)
    for probe in sorted(set(defined) ^ set(listed)):
        found.append(f"src/observe/list.h: {probe} is {'not listed' if probe in defined else 'no probe'}")
    for probe, name in defined.items():
        if name != probe + ".c":
            found.append(f"src/observe/{name}: probe {probe} belongs in a file of its name")


def has_suite(suite, texts):
    """Whether a suite of tests/mutants.json has a test, as far as the files' texts tell."""
    name, _, words = suite.partition(" ")
    if not name.startswith("unit/"):
        return suite == "simulate" or name in texts and all(word.lower() in texts[name].lower() for word in re.split(" and | or ", words))
    tests = [test for path, text in texts.items() if path.startswith("tests/unit/")
             for test in re.findall(rf"Test\({re.escape(name[len('unit/'):])}, (\w+)", text)]
    return bool(fnmatch.filter(tests, words or "*"))


def check_mutants(rows, texts, found):
    """A fault that does not go into the tree any more is noticed by no test, nor one whose suite is gone."""
    for row in rows:
        count = texts.get(row["file"], "").count(row["text"])
        if count != 1:
            found.append(f"tests/mutants.json: '{row['name']}': its text stands {count} times in {row['file']}, not once")
        for suite in row["suites"]:
            if not has_suite(suite, texts):
                found.append(f"tests/mutants.json: '{row['name']}': no test is '{suite}'")


def is_seen_alone(header, texts):
    """A file that begins with its own header shows it to the compiler alone."""
    first = re.search(r'^#include (\S+)', texts.get(header[:-2] + ".c", ""), re.M)
    return first is not None and first.group(1) == f'"{header[4:]}"'


def check_headers_alone(texts, found):
    """Each header must compile on its own."""
    headers = [p for p in texts if p.startswith("src/") and p.endswith(".h") and not is_seen_alone(p, texts)]
    with tempfile.TemporaryDirectory() as folder:
        for header in headers:
            unit = os.path.join(folder, "unit.c")
            with open(unit, "w", encoding="utf-8") as file:
                file.write(f'#include "{header[4:]}"\n#include "{header[4:]}"\nextern int unit;\n')
            run = subprocess.run(
                ["gcc", "-std=c17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
                 f"-I{ROOT}/src", unit],
                capture_output=True, text=True, check=False)
            if run.returncode != 0:
                found.append(f"{header}: does not compile alone: {run.stderr.splitlines()[0]}")


def tracked():
    out = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"],
                         capture_output=True, text=True, check=True).stdout
    return [p for p in out.split("\n") if p and os.path.exists(os.path.join(ROOT, p))]


def check_deadlines(path, text, found):
    """A test that gives up after a number of its own fails on a busy machine (tests/waiting.py)."""
    if path.startswith("tests/") and path.endswith(".py") and not path.startswith("tests/style/"):
        for match in re.finditer(r"\b(timeout|deadline_s|seconds)=\d|\.wait\(\d|monotonic\(\) \+ \d", text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path}:{line}: a deadline of its own; take TIMEOUT_S or wait_until of tests/waiting.py")


def check_text(path, text, found):
    is_c = path.endswith((".c", ".h"))
    code = strip_comments_and_strings(text) if is_c else text
    check_names(path, found)
    check_flags(path, text, found)
    check_deadlines(path, text, found)
    if not path.startswith("tests/style/") and path != "STYLE.md":
        check_words(path, text, code, found)
    if is_c:
        check_sizes(path, text, found)
        check_functions(path, code, found)
        check_layers(path, text, found)
        check_globals(path, code, found)


def read_tracked(path):
    """For check_texts: a file's text, "" for a folder, None where there is neither."""
    whole = os.path.join(ROOT, path)
    if os.path.isdir(whole):
        return ""
    if not os.path.exists(whole):
        return None
    with open(whole, encoding="utf-8", errors="replace") as file:
        return file.read()


def self_test():
    planted = [
        ("src/base/a.c", "\n" * 601, "lines; at most 600"),
        ("src/base/a.c", "x" * 101, "columns"),
        ("src/base/a.c", "int f(void)\n{\n" + "    g();\n" * 71 + "}\n", "function of"),
        ("src/measure/a.c", '#include "store/store.h"\n', "must not include"),
        ("src/engines/native/a.c", '#include "client/events.h"\n', "must not include"),
        ("src/base/a.c", "void f(void)\n{\n    strcpy(a, b);\n}\n", "banned"),
        ("src/base/a.c", '// see "x"\nvoid f(void)\n{\n    printf("%d", 1);\n}\n', "only cli/"),
        ("src/base/string_util.c", "", "says nothing"),
        ("src/base/a.c", "static int counter = 0;\n", "mutable global"),
        ("src/base/a.c", "/* FIXME */\n", "leftover"),
        ("CMakeLists.txt", "add_compile_options(-ffast-math)\n", "fast-math"),
        ("tests/cli/test_a.py", "process.communicate(timeout=30)\n", "deadline of its own"),
        ("src/newroom/a.c", "int a(void);\n", "in no layer"),
    ]
    for path, text, wanted in planted:
        found = []
        check_text(path, text, found)
        if not any(wanted in line for line in found):
            print(f"style self-test: '{wanted}' was not found in the planted {path}: {found}")
            return 1
    clean = []
    check_text("src/base/a.c", "static const int table[] = {1};\nint f(void)\n{\n    return 1;\n}\n", clean)
    if clean:
        print(f"style self-test: clean text was blamed: {clean}")
        return 1
    stale = []
    texts = {"a": "y z", "tests/unit/test_b.c": "Test(b, name_of_it)", "tests/cli/test_c.py": "def test_it():"}
    sound = {"name": "m", "file": "a", "text": "y", "suites": ["unit/b", "unit/b *of*", "tests/cli/test_c.py it", "simulate"]}
    check_mutants([sound, {"name": "n", "file": "a", "text": "x", "suites": []}], texts, stale)
    gone = ["unit/c", "unit/b of*", "tests/cli/test_c.py it and flood", "tests/cli/test_d.py"]
    check_mutants([{**sound, "suites": gone}], texts, stale)
    if len(stale) != 1 + len(gone):
        print(f"style self-test: one fault is stale, and {len(gone)} suites are gone: {stale}")
        return 1
    return 0


def main():
    if self_test() != 0 or check_texts.self_test() != 0 or check_declarations.self_test(strip_comments_and_strings) != 0:
        return 1
    found = []
    texts = {}
    codes = {}
    for path in tracked():
        try:
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                text = file.read()
            check_text(path, text, found)
            check_texts.check_texts(path, text, read_tracked, found)
            texts[path] = text
            if path.endswith((".c", ".h")) and not path.startswith("examples/"):
                codes[path] = strip_comments_and_strings(text)
                check_declarations.check_file(path, text, codes[path], found)
        except (UnicodeDecodeError, IsADirectoryError):
            continue
    check_declarations.check_tree(codes, found)
    check_headers_alone(texts, found)
    check_probes(found)
    check_mutants(json.loads(texts["tests/mutants.json"]), texts, found)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
