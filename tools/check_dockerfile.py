"""Does the Dockerfile do what it says, where no Docker engine runs?

Its instructions are carried out in a scratch folder: FROM is a fresh virtual environment of the same Python, COPY copies what
.dockerignore lets through, RUN runs with the image's absolute paths moved into the scratch folder, and then each console
script is started as the image's user would. The folders that ENV names are made and written to, the data cache must lie in a volume,
and the libraries must keep their files where ENV says. What needs root or a kernel is not tried: `useradd` is left out, USER is not
switched; instead every folder that is written to must let any user write.

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

# what a user's run writes, by the libraries' own account; torch's and numba's are read from the environment alone
ASK = """
import jupyter_core.paths, matplotlib, IPython.paths
from gpfq_nb.data import cache_dir
print(cache_dir(), matplotlib.get_configdir(), matplotlib.get_cachedir(), jupyter_core.paths.jupyter_runtime_dir(), IPython.paths.get_ipython_dir(), sep=chr(10))
"""

def check_volumes(volumes, env):
    "The data cache must outlive the container: it lies in a volume"
    cache = env.get('GPFQ_CACHE', '')
    if not any((cache+'/').startswith(v+'/') for v in volumes): sys.exit(f'GPFQ_CACHE is {cache or "not set"}: expected a folder in one of the volumes {" ".join(volumes)}')

def check_writable(folder, top):
    "Any user may write to `folder`, or make it: it, or the nearest folder above it that is there, is open to all"
    here = Path(folder)
    while not here.is_dir(): here = here.parent
    if not str(here).startswith(str(top)) or here.stat().st_mode & 0o777 != 0o777: sys.exit(f'{folder}: only its owner may write there, and `docker run --user` is somebody else')

def main(scratch):
    files,cwd,tops,volumes = context(),'/',set(),[]
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
            volumes = rest.split()
            for v in env.values():
                if v.startswith(inside('/project')): check_writable(v, scratch)
            for p in volumes:
                (at(p)/'probe').write_text('')
                (at(p)/'probe').unlink()
        elif what=='CMD': sh(json.loads(rest), stdout=subprocess.DEVNULL)
        elif what not in ('ARG','USER'): sys.exit(f'{what}: this check does not know the instruction')

    print('folders that ENV names:', flush=True)
    check_volumes([inside(v) for v in volumes], env)
    named = {k: v for k,v in env.items() if v.startswith(inside('/project'))}
    for k in ('HOME','GPFQ_CACHE','XDG_CACHE_HOME','MPLCONFIGDIR','NUMBA_CACHE_DIR','IPYTHONDIR','JUPYTER_RUNTIME_DIR'):
        if k not in named: sys.exit(f'ENV {k}: expected a folder below /project, where any user may write')
    told = subprocess.run(['python','-c',ASK], cwd=inside(cwd), env=env, check=True, capture_output=True, text=True).stdout.split()
    for folder in told:
        if folder not in named.values(): sys.exit(f'a library keeps its files in {folder}: expected one of the folders that ENV names')
    print(*(f'  {k} {v.removeprefix(str(scratch))}' for k,v in named.items()), sep='\n')

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
