"""Style of declarations (STYLE.md 6 to 11 and 17): who owns a pointer, what things are called, and that what a header
declares is used by the program and not only by its tests."""
import collections
import os
import re

# What others of the program need not call, each with its reason.
FOR_TESTS = {
    "safetensors_at": "the fuzz target walks all tensors of a file",
    "safetensors_count": "the same",
}
OWNERS = re.compile(r"\b(owned|borrowed)\b", re.I)
STRUCT = re.compile(r"^struct (\w+) \{ *\n(.*?)^\}", re.M | re.S)
STRUCT_NAME = re.compile(r"^ *(?:struct|union) (\w+) \{", re.M)
ENUM = re.compile(r"^enum (\w+) \{(.*?)\}", re.M | re.S)
POINTER = re.compile(r"\*\s*(?:const\s+)?\w+(?:\[\w*\])*;")
BOOLEAN = re.compile(r"^\s*(?:volatile )?bool (\w+)", re.M)
ASKS = re.compile(r"(is|has|can|was|did|[a-z]+s)(_|$)|failed$|unused$")
PROTOTYPE = re.compile(
    r"^(?:MUST_CHECK )?(?:const |struct |enum |unsigned |volatile )*\w+[\s*]+(?:const )?\*?(\w+)\(([^;{]*?)\)[^();{]*;",
    re.M | re.S)
CAPITAL = re.compile(r"(?<![\w'])([A-VYZ])\b(?!\s*\()")
DURATION = re.compile(r"^\s+(?:uint64_t|uint32_t|int64_t) (\w+_(?:ms|us|sec|seconds))\b", re.M)
# Not time on our clock.
DURATIONS_ALLOWED = {"wait_ms": "poll's unit", "quota_us": "the kernel's unit", "period_us": "the kernel's unit"}


def comment_at(lines, number):
    """The comment on line `number` (0-based) or its continuation, and the one that ends on the line above."""
    said = lines[number]
    below = number
    while "/*" in said and "*/" not in said and below + 1 < len(lines):
        below += 1
        said += lines[below]
    above = number - 1
    if above >= 0 and lines[above].rstrip().endswith("*/") and lines[above].lstrip().startswith(("/*", "*")):
        while above > 0 and not lines[above].lstrip().startswith("/*"):
            said += lines[above]
            above -= 1
        said += lines[above]
    return said


def check_pointers(path, text, code, found):
    """A pointer in a struct says who owns it: on its line, above it, or above the struct for all of them."""
    lines = text.split("\n")
    for match in STRUCT.finditer(code):
        first = code.count("\n", 0, match.start())
        if OWNERS.search(comment_at(lines, first).split("{", 1)[1]):
            continue
        for number, line in enumerate(match.group(2).split("\n"), first + 1):
            if POINTER.search(line) and "(" not in line and not OWNERS.search(comment_at(lines, number)):
                found.append(f"{path}:{number + 1}: a pointer of struct {match.group(1)} says neither owned nor borrowed")


def check_booleans(path, code, found):
    for match in STRUCT.finditer(code):
        for name in BOOLEAN.findall(match.group(2)):
            if not ASKS.match(name):
                found.append(f"{path}: struct {match.group(1)}: a boolean asks: is_, has_, can_ or a verb, not '{name}'")


def check_enums(path, code, found):
    for name, body in ENUM.findall(code):
        prefix = name.split("_")[0].upper() + "_"
        for constant in re.findall(r"^\s*([A-Z][A-Z0-9_]*)\b(?!\()", body, re.M):
            if not constant.startswith((prefix, prefix[:-1] + "S_")) and not constant.endswith("_MAP"):
                found.append(f"{path}: enum {name}: '{constant}' does not carry the enum's name")


def check_functions_of_header(path, code, found):
    stem = os.path.basename(path)[:-2]
    known = {stem, stem.split("_")[0], stem.rstrip("s"), path.split("/")[1]}
    known |= set(re.findall(r"(?:struct|enum) (\w+)", code))
    names = set()
    for name, parameters in PROTOTYPE.findall(code):
        names.add(name)
        if not any(name == word or name.startswith(word + "_") for word in known):
            found.append(f"{path}: {name}() begins with neither its file's, folder's nor struct's name")
        check_outputs(path, name, parameters, found)
    for name in names:
        for made, ended in (("_open", "_close"), ("_new", "_free")):
            if name.endswith(made) and name[: -len(made)] + ended not in names:
                found.append(f"{path}: {name}() has no {name[: -len(made)] + ended}()")
        if re.search(r"_(destroy|delete|create|cleanup|deinit|dispose)$", name):
            found.append(f"{path}: {name}(): a life cycle is init/release, new/free or open/close")


def check_outputs(path, name, parameters, found):
    """Outputs come last, but for `err` and the sizes that belong to them."""
    is_output = False
    for parameter in (" ".join(part.split()) for part in parameters.split(",")):
        word = re.search(r"(\w*)(?:\[\w*\])*$", parameter).group(1)
        is_error = parameter.startswith("struct err *") or word == "fault"
        if is_output and not word.startswith("ret") and not is_error and not word.endswith(("_bytes", "_count")):
            found.append(f"{path}: {name}(): '{word}' stands behind an output")
        is_output |= word.startswith("ret")
    if "struct err *" in parameters and name != "err_set" and not re.search(r"struct err \*\w+\s*$", parameters):
        found.append(f"{path}: {name}(): err comes last")


def check_capitals(path, code, found):
    if path.startswith("src/engines/"):
        return
    for number, line in enumerate(code.split("\n"), 1):
        if not line.lstrip().startswith("#") and CAPITAL.search(line):
            found.append(f"{path}:{number}: names of mathematics are for engines: '{CAPITAL.search(line).group(1)}'")


def check_units(path, code, found):
    for name in DURATION.findall(code):
        if name not in DURATIONS_ALLOWED:
            found.append(f"{path}: '{name}': durations are nanoseconds inside, NAME_ns")


def check_file(path, text, code, found):
    """`text` and the same without comments and strings."""
    if not path.startswith("src/") or not path.endswith((".c", ".h")):
        return
    check_pointers(path, text, code, found)
    check_booleans(path, code, found)
    check_enums(path, code, found)
    check_capitals(path, code, found)
    check_units(path, code, found)
    if path.endswith(".h"):
        check_functions_of_header(path, code, found)


def check_tree(codes, found):
    """`codes`: path -> text without comments, of src/ and of all that tests or measures it."""
    structs = collections.defaultdict(list)
    words = {path: collections.Counter(re.findall(r"\w+", code)) for path, code in codes.items()}
    for path, code in codes.items():
        if path.startswith("src/"):
            for name in STRUCT_NAME.findall(code):
                structs[name].append(path)
    for name, paths in sorted(structs.items()):
        if len(paths) > 1:
            found.append(f"{paths[1]}: struct {name} is another one than that of {paths[0]}")
    for path, code in codes.items():
        if path.startswith("src/") and path.endswith(".h"):
            for name, _ in PROTOTYPE.findall(code):
                check_use(path, name, words, found)


def check_use(path, name, words, found):
    """Defined once, so a second mention in src/ is a use."""
    users = {user: count[name] for user, count in words.items() if count[name] and user != path}
    inside = {user: count for user, count in users.items() if user.startswith("src/")}
    if name in FOR_TESTS or len(inside) > 1 or (path.endswith(".h") and words[path][name] > 1):
        return
    if sum(inside.values()) <= 1:
        found.append(f"{path}: {name}() is called by {'tests only' if len(users) > len(inside) else 'nobody'}")
    elif len(users) == 1:
        found.append(f"{path}: {name}() is called in its own file only; static would do")


PLANTED = [
    ("src/base/a.h", "struct a {\n    const char *name; /* of it */\n};\n", "neither owned"),
    ("src/base/a.h", "struct a {\n    bool done;\n};\n", "a boolean asks"),
    ("src/base/a.h", "enum color {\n    RED,\n    COLOR_BLUE\n};\n", "does not carry"),
    ("src/base/a.h", "void b_do(void);\n", "begins with neither"),
    ("src/base/a.h", "struct a *a_open(void);\n", "has no a_close"),
    ("src/base/a.h", "struct a *a_create(void);\n", "a life cycle is"),
    ("src/base/a.h", "int a_get(int *ret_value, int which);\n", "behind an output"),
    ("src/base/a.h", "int a_get(struct err *err, int which);\n", "err comes last"),
    ("src/base/a.c", "int f(int N)\n{\n    return N;\n}\n", "names of mathematics"),
    ("src/base/a.c", "struct a {\n    uint64_t wait_seconds;\n};\n", "nanoseconds inside"),
]
CLEAN = """/* Both borrowed: for the call. */
struct a {
    const char *name;
    char *text;
    bool is_new, has_text, takes_all;
    uint64_t wait_ns;
};
enum color { COLOR_RED, COLOR_BLUE };
struct a *a_new(const char *name, struct err *err);
void a_free(struct a *a);
int a_get(const struct a *a, char *ret_text, size_t text_bytes, struct err *err);
"""
PLANTED_TREE = [
    ({"src/base/a.c": "struct a {\n    int b;\n};\n", "src/spec/a.c": "struct a { /* of b */\n    int b;\n};\n"}, "another one"),
    ({"src/base/a.h": "int a_get(void);\n", "src/base/a.c": "int a_get(void)\n{\n}\n", "tests/unit/t.c": "a_get();\n"}, "tests only"),
    ({"src/base/a.h": "int a_get(void);\n", "src/base/a.c": "int a_get(void)\n{\n}\n"}, "by nobody"),
    ({"src/base/a.h": "int a_get(void);\n", "src/base/a.c": "int a_get(void)\n{\n}\nint b = a_get();\n"}, "own file only"),
]
CLEAN_TREE = {"src/base/a.h": "int a_get(void);\n", "src/base/a.c": "int a_get(void)\n{\n}\n", "src/spec/b.c": "a_get();\n"}


def self_test(strip):
    for path, text, wanted in [*PLANTED, ("src/base/a.h", CLEAN, None)]:
        found = []
        check_file(path, text, strip(text), found)
        if found != [] if wanted is None else not any(wanted in line for line in found):
            print(f"declarations self-test: '{wanted}' in the planted {text!r}: {found}")
            return 1
    for codes, wanted in [*PLANTED_TREE, (CLEAN_TREE, None)]:
        found = []
        check_tree(codes, found)
        if found != [] if wanted is None else not any(wanted in line for line in found):
            print(f"declarations self-test: '{wanted}' in the planted {codes}: {found}")
            return 1
    return 0
