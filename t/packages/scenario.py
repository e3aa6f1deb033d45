"""scenario.py SYSTEM PACKAGE ALL_PACKAGES...: the life of the Debian package in a fresh system.

SYSTEM is the directory of a Debian without nginx, whose apt knows only what lies in SYSTEM/packages. Has the
process id and the network namespace for itself. Prints TAP.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

NAME = "libnginx-mod-http-websocket-guard"
MODULE = "usr/lib/nginx/modules/ngx_http_websocket_guard_module.so"
ENABLED = "etc/nginx/modules-enabled/50-mod-http-websocket-guard.conf"
HERE = Path(__file__).resolve().parent

system, package = Path(sys.argv[1]), Path(sys.argv[2])
other_releases = [Path(p) for p in sys.argv[3:] if p != sys.argv[2]]
failures = 0
count = 0
tunnels = ExitStack()


def check(passed, name, *details):
    """One line of TAP."""
    global failures, count
    count += 1
    print(("ok" if passed else "not ok"), "-", name, flush=True)
    if not passed:
        failures += 1
        for detail in details:
            print("#  ", str(detail).strip().replace("\n", "\n#   "), flush=True)


def run(*command, chroot=True):
    """Exit status and output of a command in the system."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C.UTF-8",
    }
    result = subprocess.run(
        [*(["chroot", system] if chroot else []), *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return result.returncode, result.stdout


def succeeds(name, *command):
    status, output = run(*command)
    check(status == 0, name, output)
    return output


def apt(name, *arguments):
    return succeeds(name, "apt-get", "-qy", *arguments)


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


# ---- nginx ---------------------------------------------------------------------------------------


def master():
    try:
        return int((system / "run/nginx.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


def workers(old=False):
    """Those that take connections, or those that finish their old ones."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.search(r"\) \S (\d+)", (process / "stat").read_text())[1])
            title = (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"worker process" in title and (b"shutting down" in title) == old and (old or parent == master()):
            found.append(int(process.name))
    return found


def loaded():
    """The inodes of the module in the workers that take connections: None for one without."""
    inodes = set()
    for worker in workers():
        maps = Path(f"/proc/{worker}/maps").read_text()
        inodes.add(next((int(line.split()[4]) for line in maps.splitlines() if MODULE in line), None))
    return inodes


def serves_with(inode):
    """Waits until all workers have that file as the module."""
    return wait_until(lambda: loaded() == {inode})


def inode():
    return (system / MODULE).stat().st_ino


def site(*lines):
    (system / "etc/nginx/sites-enabled/default").unlink(missing_ok=True)
    (system / "etc/nginx/conf.d/app.conf").write_text(
        "server {\n    listen 80;\n    location /ws/ {\n"
        + "".join(f"        {line}\n" for line in (*lines, f"proxy_pass http://{backend};"))
        + "    }\n}\n"
    )


GUARDED = ("websocket_guard on;",)
BY_HAND = (
    "proxy_http_version 1.1;",
    "proxy_set_header Upgrade $http_upgrade;",
    'proxy_set_header Connection "upgrade";',
    "proxy_read_timeout 1h;",
)


def reload():
    before = set(workers())
    succeeds("reload", "/etc/init.d/nginx", "reload")
    wait_until(lambda: workers() and not before & set(workers()))
    # The title says it a moment before the old worker closes its sockets.
    time.sleep(0.1)


def connection():
    return connect("ws://127.0.0.1/ws/", proxy=None, open_timeout=10)


def tunnel():
    return tunnels.enter_context(connection())


def opens():
    try:
        with connection() as socket:
            return echoes(socket, "hello")
    except InvalidStatus as refusal:
        print(f"# {refusal!r}", flush=True)
        return False


def echoes(socket, message):
    try:
        socket.send(message)
        return socket.recv(timeout=10) == message
    except Exception as error:
        print(f"# {error!r}", flush=True)
        return False


def plain_status():
    try:
        return urllib.request.urlopen("http://127.0.0.1/", timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def left_over():
    """Everything in the system that has the module's name."""
    found = []
    for directory, folders, files in os.walk(system):
        folders[:] = [f for f in folders if Path(directory, f) not in (system / "proc", system / "packages")]
        found += [os.path.join(directory, f) for f in (*folders, *files) if "websocket" in f]
    return found


# ---- packages ------------------------------------------------------------------------------------


def offer(*debs):
    """Makes these the packages of the module that apt knows."""
    packages = system / "packages"
    for old in packages.glob(f"{NAME}_*.deb"):
        old.unlink()
    for deb in debs:
        shutil.copy(deb, packages)
    with open(packages / "Packages", "w") as index:
        subprocess.run(["dpkg-scanpackages", "--multiversion", "."], cwd=packages, stdout=index, check=True,
                       stderr=subprocess.DEVNULL)
    status, output = run("apt-get", "-q", "update")
    assert status == 0, output


def newer(deb):
    """The same package with a higher version, and a module that is another file."""
    unpacked = system / "newer"
    subprocess.run(["dpkg-deb", "-R", deb, unpacked], check=True)
    control = unpacked / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+newer", control.read_text(), flags=re.M))
    result = system / f"{NAME}_newer.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", unpacked, result], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(unpacked)
    return result


def installed_version():
    return run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}", NAME)[1]


# ---- the scenario --------------------------------------------------------------------------------

subprocess.run(["mount", "-t", "proc", "proc", system / "proc"], check=True)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = subprocess.Popen(
    [sys.executable, HERE.parent / "interop/python-server.py"], stdout=subprocess.PIPE, text=True
)
backend = server.stdout.readline().removeprefix("listening on ").strip()
version = re.search(r"_(.*)_", package.name)[1]

# There is no init, without which services are started only where this says so.
policy = system / "usr/sbin/policy-rc.d"
policy.write_text("#!/bin/sh\nexit 0\n")
policy.chmod(0o755)

offer(package)
output = apt("nginx is installed", "install", "nginx")
first_master = master()
if not (first_master and wait_until(workers)):
    sys.exit(f"nginx does not run:\n{output}")
check(plain_status() == 200, "and serves")

# Installed beside a running nginx

apt("the package is installed", "install", NAME)
check(installed_version() == f"ii {version}", "in its version", installed_version())
check((system / ENABLED).is_symlink(), "it is enabled")
check(serves_with(inode()), "and loaded", loaded())
check(master() == first_master, "without a restart")
succeeds("nginx -t", "nginx", "-t")

site("websocket_guard on;", "proxy_read_timeout 5s;")
output = succeeds("nginx -t with a location that cuts tunnels", "nginx", "-t")
check("[short-read-timeout] in /etc/nginx/conf.d/app.conf:" in output, "which it says", output)

site(*GUARDED)
output = succeeds("nginx -t with a guarded location", "nginx", "-t")
check("[warn]" not in output and "[error]" not in output, "has nothing to say", output)
reload()
first = tunnel()
check(echoes(first, "first"), "a WebSocket opens")

# Another release's package

for other in other_releases:
    shutil.copy(other, system / "other.deb")
    status, output = run("apt-get", "-qy", "install", "/other.deb")
    check(status != 0 and "nginx-abi-" in output, f"{other.name} is refused", output)
check(installed_version() == f"ii {version}", "and nothing has changed", installed_version())

# Upgrade with an open tunnel

before = inode()
offer(package, newer(package))
apt("the package is upgraded", "install", NAME)
check(installed_version() == f"ii {version}+newer", "to the newer version", installed_version())
check(inode() != before and serves_with(inode()), "which the new nginx loads", loaded(), before, inode())
check(master() != first_master and len(workers(old=True)) == 1, "the old worker goes on", workers(old=True))
check(echoes(first, "after the upgrade"), "with its open tunnel")
second = tunnel()
check(echoes(second, "second"), "new ones open")

# nginx replaces itself once, and not again as long as the one of before has connections.

current = inode()
output = apt("the version before is installed again", "install", "--allow-downgrades", f"{NAME}={version}")
check("until it is restarted" in output, "and says that it is not in use", output)
check(loaded() == {current}, "as is true", loaded())
check(echoes(first, "still") and echoes(second, "still") and opens(), "tunnels go on, new ones open")
first.close(4002, "enough")
check(wait_until(lambda: len(list((system / "run").glob("nginx.pid*"))) == 1), "the old nginx leaves with its tunnel")

# Back to a version, as the README says it

apt("the newer version again", "install", NAME)
check(serves_with(inode()), "and loaded", loaded())
second.close()
check(wait_until(lambda: len(list((system / "run").glob("nginx.pid*"))) == 1), "the old nginx leaves")
third = tunnel()
output = apt("the version before is installed again", "install", "--allow-downgrades", f"{NAME}={version}")
check(installed_version() == f"ii {version}", "in its version", installed_version())
check("until it is restarted" not in output and serves_with(inode()), "and loaded", output, loaded())
check(echoes(third, "after the rollback") and opens(), "tunnels go on, new ones open")

# A configuration that is wrong when an upgrade comes

site(*GUARDED, "no_such_directive;")
current, old_master = inode(), master()
output = apt("an upgrade beside a broken configuration", "install", NAME)
check('see "nginx -t"' in output, "says what it waits for", output)
check(master() == old_master and loaded() == {current} and opens(), "nginx runs on as it was", loaded())
third.close()
check(wait_until(lambda: len(list((system / "run").glob("nginx.pid*"))) == 1), "the old nginx leaves")
site(*GUARDED)

# Removed too early: the configuration still has its directives

fourth = tunnel()
apt("the package is removed while its directives are in use", "remove", NAME)
status, output = run("nginx", "-t")
check(status != 0 and 'unknown directive "websocket_guard"' in output, "nginx -t fails", output)
check(master() == old_master and workers(), "but nginx runs on as it was")
check(echoes(fourth, "still there") and opens(), "with tunnels, old and new")
apt("installed again", "install", NAME)
check((system / ENABLED).is_symlink(), "it is enabled")
succeeds("and all is well", "nginx", "-t")
reload()
check(opens(), "a WebSocket opens")

# Removed in the order of the README: directives, nginx -t, reload, package

site(*BY_HAND)
succeeds("nginx -t without directives", "nginx", "-t")
reload()
check(opens(), "a WebSocket opens by hand")
apt("the package is removed", "remove", NAME)
check(not (system / MODULE).exists() and not (system / ENABLED).exists(), "file and link are gone")
succeeds("nginx -t", "nginx", "-t")
check(serves_with(None), "new workers do without", loaded())
check(master() == old_master, "without a restart")
check(echoes(fourth, "still there"), "a tunnel of before goes on")
check(opens(), "new ones open by hand")

apt("the package is purged", "purge", NAME)
check(installed_version().startswith("dpkg-query:"), "dpkg knows nothing of it", installed_version())
(system / f"{NAME}_newer.deb").unlink()
check(left_over() == [], "nothing is left", left_over())

# Purged without an orderly removal

apt("installed once more", "install", NAME)
apt("and purged at once", "purge", NAME)
check(left_over() == [], "nothing is left", left_over())
succeeds("nginx -t", "nginx", "-t")
check(opens(), "nginx serves")

log = (system / "var/log/nginx/error.log").read_text()
alerts = [line for line in log.splitlines() if re.search(r"\[(alert|crit|emerg)\]|exited on signal", line)]
expected = "the changing binary signal is ignored"
check(len(alerts) == 1 and expected in alerts[0], "no alert but the one", *alerts)

print(f"1..{count}")
tunnels.close()
sys.exit(failures > 0)
