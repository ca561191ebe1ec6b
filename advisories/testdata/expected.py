# What advisories say of the packages of a Debian system, worked out in another
# way than casco does: expected.py ZIP ADMINDIR ECOSYSTEM. It knows ranges
# "from 0 to a fix", in the order in which they stand, and asks dpkg for the rest.
import functools, json, subprocess, sys, zipfile

archive, admindir, ecosystem = sys.argv[1:4]


@functools.cache
def before(version, other):
    return subprocess.run(["dpkg", "--compare-versions", version, "lt", other]).returncode == 0


fixes = {}
with zipfile.ZipFile(archive) as z:
    for name in z.namelist():
        record = json.loads(z.read(name))
        for affected in record["affected"]:
            if affected["package"]["ecosystem"] != ecosystem:
                continue
            first, last = affected["ranges"][0]["events"]
            assert first == {"introduced": "0"} and len(affected["ranges"]) == 1
            fixes.setdefault(affected["package"]["name"], []).append((record["upstream"][0], last["fixed"]))

form = "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n"
for line in subprocess.check_output(["dpkg-query", "--admindir", admindir, "-W", "-f", form], text=True).splitlines():
    status, package, version, arch, source, source_version = line.split()
    if status != "installed":
        continue
    for cve, fixed in fixes.get(source, []):
        if before(source_version, fixed):
            print(package, version, arch, cve, fixed)
