"""Does the Dockerfile do what it says, where no Docker engine runs?

Its instructions are carried out in a scratch folder: FROM is a fresh virtual environment of the same Python, COPY copies what
.dockerignore lets through, RUN runs with the image's absolute paths moved into the scratch folder, and then each console
script is started as the image's user would. What needs root or a kernel is not tried: `useradd` is left out, USER is not switched.

    python tools/check_dockerfile.py [--keep]
"""
import json, os, re, shlex, shutil, subprocess, sys, tempfile
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent

def instructions(text):
    "`(NAME, rest)` of each instruction, lines continued by a backslash joined"
    text = re.sub(r'^\s*#.*\n', '', text, flags=re.M).replace('\\\n', ' ')
    return [tuple(l.strip().split(None, 1)) for l in text.splitlines() if l.strip()]

def admitted(path, rules):
    "Whether .dockerignore leaves `path` in the build context: the last rule that matches it or a folder above it decides"
    def matches(rule): return re.match('[^/]*'.join(map(re.escape, rule.lstrip('!').split('*'))) + '(/|$)', path)
    return next((r[0]=='!' for r in reversed(rules) if matches(r)), True)

def context():
    "What a build would see: every file that git does not ignore and .dockerignore admits"
    git = subprocess.run(['git','ls-files','-co','--exclude-standard'], cwd=root, capture_output=True, text=True, check=True)
    rules = [l for l in (root/'.dockerignore').read_text().splitlines() if l and not l.startswith('#')]
    return [f for f in git.stdout.splitlines() if (root/f).is_file() and admitted(f, rules)]

def main(scratch):
    files,cwd,tops = context(),'/',set()
    env = {k:v for k,v in os.environ.items() if re.match('PIP_|SSL_|REQUESTS_CA|PATH$|LANG$|.*_proxy$', k, re.I)}
    steps = instructions((root/'Dockerfile').read_text())
    for what,rest in steps:     # absolute paths that belong to the image
        if what in ('WORKDIR','VOLUME','COPY'): tops |= {'/'+p.split('/')[1] for p in rest.split() if p.startswith('/')}
    def inside(s): return re.sub(rf"(?<![\w/.])({'|'.join(map(re.escape, tops))})(?=[/\s;'\"]|$)", rf'{scratch}\1', s)
    def at(p): return Path(inside(p) if p.startswith('/') else inside(cwd)+'/'+p)
    def sh(cmd, **kw): subprocess.run(cmd, shell=isinstance(cmd, str), cwd=inside(cwd), env=env, check=True, **kw)

    for what,rest in steps:
        print(what, rest[:110], flush=True)
        if what=='FROM':
            want,have = re.search(r'python:(\d+\.\d+)', rest)[1],'%d.%d'%sys.version_info[:2]
            if want!=have: sys.exit(f'the image has Python {want}, this check runs on {have}: start it with python{want}')
            subprocess.run([sys.executable,'-m','venv',f'{scratch}/venv'], check=True)
            env['PATH'] = f"{scratch}/venv/bin:{env['PATH']}"
        elif what=='WORKDIR': cwd = rest; at(rest).mkdir(parents=True, exist_ok=True)
        elif what=='ENV': env |= {k: inside(v) for k,v in (o.split('=', 1) for o in shlex.split(rest)) if k!='PIP_NO_CACHE_DIR'}
        elif what=='COPY':
            *src,dst = rest.split()
            for s in src:
                took = [f for f in files if f==s or f.startswith(s+'/')]
                if not took: sys.exit(f'COPY {s}: nothing of it is in the build context')
                for f in took:
                    to = at(dst)/Path(f).name if f==s else at(dst)/f[len(s)+1:]
                    to.parent.mkdir(parents=True, exist_ok=True); shutil.copy(root/f, to)
        elif what=='RUN': sh(inside(re.sub(r'useradd [^&]*&&', '', rest)).replace('pip install', 'pip install -qq'))
        elif what=='VOLUME':
            for p in rest.split(): (at(p)/'probe').write_text(''); (at(p)/'probe').unlink()
        elif what=='CMD': sh(json.loads(rest), stdout=subprocess.DEVNULL)
        elif what not in ('ARG','USER'): sys.exit(f'{what}: this check does not know the instruction')

    ini = ConfigParser(); ini.read(root/'settings.ini')
    for name in re.findall(r'^\s*(\w+)=', ini['DEFAULT']['console_scripts'], flags=re.M):
        print(f'docker run IMAGE {name} --help', flush=True)
        sh([name,'--help'], stdout=subprocess.DEVNULL)
    print('templates:', flush=True)
    sh(['python','-c','from importlib.resources import files; print(*sorted(f.name for f in (files("gpfq_nb")/"cells").iterdir()))'])
    print('The Dockerfile holds.')

if __name__=='__main__':
    if '--keep' in sys.argv: main(tempfile.mkdtemp())
    else:
        with tempfile.TemporaryDirectory() as t: main(t)
