#!/usr/bin/env python3
"""Runs the commands of packaging/Dockerfile without a container engine. Needs the outcome of "make module-vendored".

The image is a directory: every absolute path of the Dockerfile is taken below it. Its nginx is the vendored build, and
the source that the Dockerfile downloads is that build's. Packages and Rust are the host's: the two commands that
install them are not run.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENDORED = ROOT / "build/vendored/nginx-tree"
MODULE = "ngx_http_websocket_guard_module.so"
# What starts so is the host's affair.
INSTALLS = ("apt-get ", "curl -fsSL https://sh.rustup.rs ")


def instructions():
    """The Dockerfile as (instruction, arguments), without comments and with continued lines joined."""
    text = (ROOT / "packaging/Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            yield line.split(maxsplit=1)


class Image:
    def __init__(self, path, version):
        self.path = path
        self.directory = path
        (path / "usr/lib/nginx/modules").mkdir(parents=True)
        (path / "bin").mkdir()
        (path / "etc/nginx").mkdir(parents=True)
        (path / "etc/nginx/modules").symlink_to(path / "usr/lib/nginx/modules")
        (path / "etc/nginx/nginx.conf").write_text("pid nginx.pid;\nevents {\n}\nhttp {\n    access_log off;\n}\n")
        self.program("nginx", f'exec {VENDORED}/objs/nginx -p {path}/etc/nginx -c nginx.conf -e stderr "$@"')
        # The one address that is asked here.
        url = f"https://nginx.org/download/nginx-{version}.tar.gz"
        self.program(
            "curl",
            f'[ "$*" = "-fsSL {url}" ] || exit 22\n'
            f"exec tar -C {path.parent} -cz nginx-{version}",
        )
        self.environment = {
            **os.environ,
            "PATH": f"{path}/bin:{os.environ['PATH']}",
            "NGINX_VERSION": version,
            # The programs that configure runs leak, which would fail them.
            "ASAN_OPTIONS": "detect_leaks=0",
        }
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "NGINX_SOURCE_DIR", "NGINX_BUILD_DIR"):
            self.environment.pop(name, None)

    def program(self, name, body):
        file = self.path / "bin" / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)

    def inside(self, path):
        return self.path / path.lstrip("/")

    def run(self, command):
        command = re.sub(r"(?<=[\s=])/(?=(nginx|modules|etc)\b)", f"{self.path}/", command)
        result = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.directory, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        if result.returncode != 0:
            print("\n".join(result.stdout.splitlines()[-20:]))
            sys.exit(f"not ok - {command}")
        print(f"ok - {command}", flush=True)

    def copy(self, source, target):
        target = self.inside(target)
        if source == Path("."):
            left_out = (ROOT / "packaging/Dockerfile.dockerignore").read_text().split()
            ignore = shutil.ignore_patterns(*left_out)
            shutil.copytree(
                ROOT, target, dirs_exist_ok=True,
                ignore=lambda path, names: ignore(path, names) if Path(path) == ROOT else (),
            )
            # What cargo has compiled is kept for the next time.
            cache = ROOT / "build/container/target"
            cache.mkdir(parents=True, exist_ok=True)
            (target / "build/custom").mkdir(parents=True)
            (target / "build/custom/target").symlink_to(cache)
        else:
            shutil.copy(source, target)


def source_archive(work, version):
    """nginx's source as it is downloaded: configure stands on top there."""
    tree = work / f"nginx-{version}"
    shutil.copytree(VENDORED, tree, ignore=shutil.ignore_patterns("objs", "Makefile"))
    shutil.copy(tree / "auto/configure", tree / "configure")


def main(work):
    version = re.search(
        r'define NGINX_VERSION\s+"(.*)"', (VENDORED / "src/core/nginx.h").read_text()
    )[1]
    source_archive(work, version)
    images = {}
    image = None
    skipped = []
    for instruction, arguments in instructions():
        if instruction == "FROM":
            name = arguments.partition(" AS ")[2] or "final"
            image = images[name] = Image(work / name, version)
        elif instruction == "WORKDIR":
            image.directory = image.inside(arguments)
            image.directory.mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            *source, target = shlex.split(arguments)
            if source[0].startswith("--from="):
                image.copy(images[source[0].removeprefix("--from=")].inside(source[1]), target)
            else:
                image.copy(Path(source[0]), target)
        elif instruction == "RUN" and arguments.startswith(INSTALLS):
            skipped.append(arguments)
        elif instruction == "RUN":
            image.run(arguments)
        elif instruction not in ("ARG", "ENV"):
            sys.exit(f"not ok - {instruction} is not understood")
    assert len(skipped) == len(INSTALLS), skipped

    final = images["final"]
    module = final.inside(f"/usr/lib/nginx/modules/{MODULE}")
    subprocess.run(
        ["prove", "-I", "t/lib", "t/harness.t"],
        cwd=ROOT,
        check=True,
        env={
            **final.environment,
            "TEST_NGINX_BINARY": str(VENDORED / "objs/nginx"),
            "TEST_NGINX_GLOBALS": f"load_module {module};",
        },
    )
    print("ok - the image's nginx loads and uses the module")

    # The README builds for nginx.org's packages in the same way.
    configure = next(a for i, a in instructions() if i == "RUN" and "./configure" in a)
    if configure not in (ROOT / "README.md").read_text():
        sys.exit(f"not ok - the README configures in another way than {configure}")
    print("ok - the README configures in the same way")


# At the same place each time, so that cargo compiles again only what has changed.
directory = ROOT / "build/container/image"
shutil.rmtree(directory, ignore_errors=True)
directory.mkdir(parents=True)
main(directory)
