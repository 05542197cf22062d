"""constraints.txt: the exact version of everything in the environment, tried in a fresh one.

torch, torchvision and jsonschema keep the versions that constraints.txt has now (edit them there first to move them), the rest
is the newest that settings.ini admits. From 4.25 on jsonschema makes a parser of addresses whenever it is imported, which takes
1.8 s of each process that reads a notebook. No registry's address and no local version (`+cpu`) is written, so that the file serves everywhere.
"""
import re, subprocess, sys, tempfile, venv
from pathlib import Path

root = Path(__file__).resolve().parent.parent
out = root/'constraints.txt'
head = '# The versions that the tests ran with, on Python {}. Written by `make constraints` (tools/constraints.py).\n'

with tempfile.TemporaryDirectory() as t:
    held = re.findall(r'^(?:torch|torchvision|jsonschema)==.*$', out.read_text(), flags=re.M)
    (Path(t)/'held').write_text('\n'.join(held)+'\n')
    venv.create(Path(t)/'venv', with_pip=True)
    def pip(*a): return subprocess.run([Path(t)/'venv'/'bin'/'pip',*a], cwd=root, check=True, capture_output=True, text=True).stdout
    pip('install','-U','-c',f'{t}/held','setuptools')
    pip('install','-c',f'{t}/held','--no-build-isolation','-e','.[dev]')
    rows = pip('freeze','--all','--exclude-editable','--exclude','pip').split()
pins = [re.sub(r'\+.*', '', r) for r in rows]
if bad := [p for p in pins if not re.fullmatch(r'[\w.-]+==[\w.]+', p)]: sys.exit(f'not a plain pin: {bad}')
out.write_text(head.format('.'.join(map(str, sys.version_info[:2]))) + '\n'.join(pins)+'\n')
print(f'{out.name}: {len(pins)} pins')
