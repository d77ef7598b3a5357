#!/usr/bin/env python3
"""Writes messages.schema: every message that the kinds of kinds.table reach.

Usage: generate.py <k8s.io/api directory> <k8s.io/apimachinery directory> > messages.schema

Field numbers and types come from generated.proto; JSON names, patch tags and list markers come from
types.go. Both are the published definitions of the Kubernetes API. Comments are not carried over.
"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent

# Proto package -> (directory below the arguments' directories, short name used in the table).
PACKAGES = {
    "k8s.io.api.core.v1": ("api", "core/v1"),
    "k8s.io.api.apps.v1": ("api", "apps/v1"),
    "k8s.io.api.discovery.v1": ("api", "discovery/v1"),
    "k8s.io.api.coordination.v1": ("api", "coordination/v1"),
    "k8s.io.api.autoscaling.v1": ("api", "autoscaling/v1"),
    "k8s.io.api.policy.v1": ("api", "policy/v1"),
    "k8s.io.api.authentication.v1": ("api", "authentication/v1"),
    "k8s.io.api.authorization.v1": ("api", "authorization/v1"),
    "k8s.io.apimachinery.pkg.apis.meta.v1": ("machinery", "pkg/apis/meta/v1"),
}

# Messages whose JSON form is not an object of their fields.
SPECIAL = {
    "k8s.io.apimachinery.pkg.apis.meta.v1.Time": "time",
    "k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime": "microtime",
    "k8s.io.apimachinery.pkg.apis.meta.v1.Duration": "duration",
    "k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1": "fields",
    "k8s.io.apimachinery.pkg.api.resource.Quantity": "quantity",
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": "intorstring",
    "k8s.io.apimachinery.pkg.runtime.RawExtension": "raw",
    "k8s.io.api.authentication.v1.ExtraValue": "strings",
    "k8s.io.api.authorization.v1.ExtraValue": "strings",
}
SCALARS = {"string", "bytes", "bool", "int32", "int64", "double"}


def short(qualified):
    package, name = qualified.rsplit(".", 1)
    return PACKAGES[package][1].removeprefix("pkg/apis/") + "." + name


def proto_messages(text, package):
    """name -> [(tag, label, type)], types fully qualified."""
    messages, current = {}, None
    for line in text.splitlines():
        line = line.strip()
        if start := re.match(r"message (\w+) \{", line):
            current = messages.setdefault(start[1], [])
        elif line == "}":
            current = None
        elif current is not None and not line.startswith("//"):
            if found := re.match(r"map<string, ([\w.]+)> \w+ = (\d+);", line):
                current.append((int(found[2]), "map", qualify(found[1], package)))
            elif found := re.match(r"(optional|repeated|required) ([\w.]+) \w+ = (\d+);", line):
                current.append((int(found[3]), found[1], qualify(found[2], package)))
    return messages


def qualify(name, package):
    if name in SCALARS:
        return name
    return name[1:] if name.startswith(".") else f"{package}.{name}"


def go_structs(text):
    """name -> (has TypeMeta, {tag: (json name, options, patch, markers, pointer)})."""
    structs, name, markers = {}, None, []
    for line in text.splitlines():
        line = line.strip()
        if start := re.match(r"type (\w+) struct \{", line):
            name, markers = start[1], []
            structs[name] = [False, {}]
        elif line == "}":
            name = None
        elif name and line.startswith("//"):
            markers.append(line[2:].strip())
        elif name and (found := re.match(r"(?:(\w+)\s+)?(\S+)\s+`(.*)`", line)):
            tags = dict(re.findall(r'(\w+):"([^"]*)"', found[3]))
            json, *options = tags.get("json", "").split(",")
            if found[2].endswith("TypeMeta") and "inline" in options:
                structs[name][0] = True
            elif "protobuf" in tags and tags["protobuf"] != "-":
                tag = int(tags["protobuf"].split(",")[1])
                patch = (tags.get("patchStrategy"), tags.get("patchMergeKey"))
                structs[name][1][tag] = (json, options, patch, markers, found[2].startswith("*"))
            markers = []
    return structs


def flags(field, label):
    json, options, (strategy, merge_key), markers, pointer = field
    # A non-pointer scalar with omitempty disappears at its zero value; see Field::omit_zero.
    if pointer:
        yield "ptr"
    elif "omitempty" in options or "omitzero" in options:
        yield "omitzero" if "omitzero" in options else "omitempty"
    if "+optional" not in markers and "omitempty" not in options and not pointer:
        yield "required"
    if strategy:
        yield "patch=" + strategy.replace(",", "+")
    if merge_key:
        yield "key=" + merge_key
    keys = [m.split("=")[1] for m in markers if m.startswith("+listMapKey=")]
    for marker in markers:
        if marker.startswith("+listType="):
            yield "list=" + marker.split("=")[1]
        elif marker == "+mapType=atomic" or marker == "+structType=atomic":
            yield "atomic"
    if keys:
        yield "keys=" + "+".join(keys)


def main():
    roots = {"api": pathlib.Path(sys.argv[1]), "machinery": pathlib.Path(sys.argv[2])}
    protos, structs = {}, {}
    for package, (root, directory) in PACKAGES.items():
        path = roots[root] / directory
        for name, fields in proto_messages((path / "generated.proto").read_text(), package).items():
            protos[f"{package}.{name}"] = fields
        for name, struct in go_structs((path / "types.go").read_text()).items():
            structs[f"{package}.{name}"] = struct

    wanted = []
    by_short = {directory.removeprefix("pkg/apis/"): package for package, (_, directory) in PACKAGES.items()}
    for line in (HERE / "kinds.table").read_text().splitlines():
        if line and not line.startswith("#"):
            group, version, kind = line.split()[:3]
            wanted.append(f"{by_short[group.split('.')[0] + '/' + version]}.{kind}")
    wanted.append("k8s.io.apimachinery.pkg.apis.meta.v1.ListMeta")
    wanted.append("k8s.io.apimachinery.pkg.apis.meta.v1.Status")

    print("# Generated by generate.py from the public Kubernetes API definitions; do not edit.")
    print("# message <package>.<Name> [object]   (object: carries apiVersion and kind)")
    print("# <tag> <json name, - when inlined> <type> [flags]")
    seen = set()
    while wanted:
        name = wanted.pop(0)
        if name in seen:
            continue
        seen.add(name)
        has_type_meta, go_fields = structs[name]
        print(f"message {short(name)}" + (" object" if has_type_meta else ""))
        for tag, label, kind in protos[name]:
            field = go_fields[tag]
            if kind in SPECIAL:
                text = SPECIAL[kind]
            elif kind in SCALARS:
                text = kind
            else:
                text = short(kind)
                wanted.append(kind)
            text = {"repeated": "[]", "map": "{}"}.get(label, "") + text
            line = [str(tag), field[0] or "-", text, *flags(field, label)]
            print(" ".join(line))


if __name__ == "__main__":
    main()
