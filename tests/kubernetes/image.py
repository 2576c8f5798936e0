#!/usr/bin/env python3
"""Makes a container image of one layer from a folder, without a daemon or a registry: a docker-archive,
which `ctr images import` takes. The same folder gives the same image; owners and permissions are the
folder's. With --dockerfile, USER, WORKDIR, ENV and ENTRYPOINT are those of that file."""

import argparse
import hashlib
import io
import json
import os
import platform
import shlex
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="the archive to write")
    parser.add_argument("name", help="NAME:TAG")
    parser.add_argument("root", help="the folder")
    parser.add_argument("--dockerfile", help="where to take the configuration from")
    parser.add_argument("--entrypoint", help="the program, without arguments")
    parser.add_argument("--user", help="UID:GID")
    return parser.parse_args()


def configuration(dockerfile):
    """The lines of a Dockerfile that say how the image runs; a line that is not known is refused."""
    found = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    with open(dockerfile, encoding="utf-8") as lines:
        for line in map(str.strip, lines):
            word, _, rest = line.partition(" ")
            if word == "USER":
                found["User"] = rest
            elif word == "WORKDIR":
                found["WorkingDir"] = rest
            elif word == "ENV":
                found["Env"] += shlex.split(rest)
            elif word == "ENTRYPOINT":
                found["Entrypoint"] = json.loads(rest)
            elif line and not line.startswith("#") and (word, rest) != ("FROM", "scratch") and word != "COPY":
                raise SystemExit(f"{dockerfile}: no meaning is known for {line!r}")
    return found


def layer(root):
    def plain(entry):
        entry.uname = entry.gname = ""
        entry.mtime = 0
        return entry

    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in sorted(os.listdir(root)):
            tar.add(os.path.join(root, name), arcname=name, filter=plain)
    return data.getvalue()


def main():
    given = arguments()
    config = configuration(given.dockerfile) if given.dockerfile else {}
    if given.entrypoint:
        config["Entrypoint"] = [given.entrypoint]
    if given.user:
        config["User"] = given.user
    content = layer(given.root)
    digest = hashlib.sha256(content).hexdigest()
    image = json.dumps({
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]},
        "history": [{"created": "1970-01-01T00:00:00Z"}],
    }).encode()
    described = hashlib.sha256(image).hexdigest() + ".json"
    manifest = json.dumps([{"Config": described, "RepoTags": [given.name], "Layers": [digest + "/layer.tar"]}])
    with tarfile.open(given.out + ".new", "w") as tar:
        for name, data in (
            (described, image),
            (digest + "/layer.tar", content),
            ("manifest.json", manifest.encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    os.rename(given.out + ".new", given.out)


if __name__ == "__main__":
    main()
