"""Prints the protobuf messages of Kubernetes that bodies of requests are made of: the table that the gateway reads them by.

    kube_messages.py SRC VERSION > gateway/src/protocol/kubernetes/body/messages.txt

SRC is /usr/share/gocode/src of Debian's golang-k8s-api-dev and golang-k8s-apimachinery-dev, unpacked. Numbers, names and
types are those of the generated.proto files; from types.go comes what is a pointer (an absent one differs from a zero)
and what JSON shows as fields of the object around it.
"""
import pathlib
import re
import sys

GROUPS = """admissionregistration/v1 admissionregistration/v1beta1 apps/v1 authentication/v1 authorization/v1 autoscaling/v1
autoscaling/v2 batch/v1 batch/v1beta1 certificates/v1 certificates/v1beta1 coordination/v1 core/v1 discovery/v1
discovery/v1beta1 events/v1 networking/v1 networking/v1beta1 node/v1 policy/v1 policy/v1beta1 rbac/v1 rbac/v1beta1
scheduling/v1 storage/v1 storage/v1beta1""".split()
MACHINERY = ["pkg/apis/meta/v1", "pkg/runtime", "pkg/api/resource", "pkg/util/intstr"]
# Left out of later versions, and written by older clients however empty.
REMOVED = {"meta.v1.ObjectMeta": [("15", "clusterName", "string")]}
FIELD = re.compile(r"^  (optional|repeated|required|map<string, ([\w.]+)>) ?([\w.]+)? (\w+) = (\d+)", re.M)
MEMBER = re.compile(r"^\t(?:\w+ +)?(\S+) +`json:\"([^\"]*)\".*?protobuf:\"\w+,(\d+)", re.M)


def package(folder):
    """k8s.io.api.core.v1 is core.v1 here."""
    return ".".join(folder.parts[-2:])


def messages(folder):
    proto = (folder / "generated.proto").read_text()
    go = "\n".join(path.read_text() for path in folder.glob("*.go") if not path.name.endswith("_test.go"))
    for name, body in re.findall(r"^message (\w+) \{\n(.*?)^\}", proto, re.M | re.S):
        struct = re.search(r"^type %s struct \{\n(.*?)^\}" % name, go, re.M | re.S)
        members = {}
        for kind, json, number in MEMBER.findall(struct.group(1) if struct else ""):
            members[number] = (kind.startswith("*"), json)
        fields = []
        for label, mapped, kind, field, number in FIELD.findall(body):
            pointer, json = members.get(number, (False, field))
            kind = mapped or kind
            if "." in kind:
                kind = ".".join(kind.lstrip(".").split(".")[-3:])
            elif kind[0].isupper():
                kind = package(folder) + "." + kind
            marks = "{" if mapped else "*" if label == "repeated" else "?" if pointer else ""
            if json.startswith(",") and "inline" in json:
                field = "-"
            elif json.split(",")[0] not in ("", "-"):
                field = json.split(",")[0]
            fields.append((number, field, marks + kind))
        fields += REMOVED.get(package(folder) + "." + name, [])
        yield package(folder) + "." + name, fields


def main():
    root, version = pathlib.Path(sys.argv[1]) / "k8s.io", sys.argv[2]
    known, roots = {}, []
    for folder in [root / "api" / group for group in GROUPS] + [root / "apimachinery" / part for part in MACHINERY]:
        for name, fields in messages(folder):
            known[name] = fields
            if any(kind == "meta.v1.ObjectMeta" for _, _, kind in fields):
                roots.append(name)
    reached, left = {}, roots + ["meta.v1.DeleteOptions"]
    while left:
        name = left.pop()
        if name not in reached and name in known:
            reached[name] = known[name]
            left += [kind.lstrip("{*?") for _, _, kind in known[name]]
    print(f"# Messages of Kubernetes {version}, printed by xtask/src/lab/kube_messages.py.")
    print("# `@`: an API version, and how its messages begin. A message: its name; number, name (`-`: as fields of the object")
    print("# around it) and type of each field. `*`: any number of them; `{`: a map from strings; `?`: present, also where zero.")
    for group in GROUPS:
        name = re.search(r'GroupName = "(.*?)"', (root / "api" / group / "register.go").read_text()).group(1)
        print(f"@ {name + '/' if name else ''}{group.split('/')[1]} {group.replace('/', '.')}")
    for name in sorted(reached):
        print(name)
        for number, field, kind in sorted(reached[name], key=lambda one: int(one[0])):
            print(f" {number} {field} {kind}")


main()
