"""Does the Dockerfile do what it says, where no Docker engine runs?

Its instructions are carried out in a scratch folder: FROM is a fresh virtual environment of the same Python, or what the stage
it names has left, COPY copies what .dockerignore lets through, RUN runs with the image's absolute paths moved into the scratch
folder, and then each console script is started as the image's user would. The folders that ENV names are made and written to,
the data cache must lie in a volume, and the libraries must keep their files where ENV says. What needs root or a kernel is not
tried: `useradd` is left out, USER is not switched; instead every folder that is written to must let any user write.

The last stage is what is built when no target is named. The stage `lab` is checked after it, in the same folder: its command is
started, and the server it starts must show the notebooks, save one, and run one.

    python tools/check_dockerfile.py [--keep] [--target commands|lab]
"""
import argparse, json, os, re, secrets, shlex, shutil, socket, subprocess, sys, tempfile, time
from urllib.request import Request, urlopen
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent

def instructions(text):
    "`(NAME, rest)` of each instruction, lines continued by a backslash joined"
    text = re.sub(r'^\s*#.*\n', '', text, flags=re.M).replace('\\\n', ' ')
    return [tuple(l.strip().split(None, 1)) for l in text.splitlines() if l.strip()]

def stages(steps):
    "Name -> what it starts from, its instructions"
    found = {}
    for what,rest in steps:
        if what=='FROM':
            start,_,name = rest.partition(' AS ')
            name = name or start
            found[name] = start,[]
        elif not found: sys.exit(f'{what} stands before the first FROM')
        else: found[name][1].append((what, rest))
    return found

def chain(name, found):
    "The instructions of a stage, after those of the stages that it starts from"
    start,steps = found[name]
    return (chain(start, found) if start in found else [('FROM', start)]) + steps

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

class Image:
    "What the instructions have made so far, in a scratch folder"
    def __init__(self, scratch, steps):
        self.scratch,self.files,self.cwd,self.volumes,self.cmd,self.done = scratch,context(),'/',[],None,[]
        self.env = {k:v for k,v in os.environ.items() if re.match('PIP_|SSL_|REQUESTS_CA|PATH$|LANG$|.*_proxy$', k, re.I)}
        self.tops = set()       # absolute paths that belong to the image
        for what,rest in steps:
            if what in ('WORKDIR','VOLUME','COPY'): self.tops |= {'/'+p.split('/')[1] for p in rest.split() if p.startswith('/')}

    def inside(self, s):
        "A text with the image's paths in the scratch folder"
        return re.sub(rf"(?<![\w/.])({'|'.join(map(re.escape, self.tops))})(?=[/\s;'\"]|$)", rf'{self.scratch}\1', s)

    def at(self, p): return Path(self.inside(p) if p.startswith('/') else self.inside(self.cwd)+'/'+p)

    def sh(self, cmd, **kw):
        "Run a command as the image would"
        return subprocess.run(cmd, shell=isinstance(cmd, str), cwd=self.inside(self.cwd), env=self.env, check=True, **kw)

    def carry_out(self, what, rest):
        "One instruction"
        print(what, rest[:110], flush=True)
        if what=='FROM':
            want,have = re.search(r'python:(\d+\.\d+)', rest)[1],'%d.%d'%sys.version_info[:2]
            if want!=have: sys.exit(f'the image has Python {want}, this check runs on {have}: start it with python{want}')
            subprocess.run([sys.executable,'-m','venv',f'{self.scratch}/venv'], check=True)
            self.env['PATH'] = f"{self.scratch}/venv/bin:{self.env['PATH']}"
        elif what=='WORKDIR':
            self.cwd = rest
            self.at(rest).mkdir(parents=True, exist_ok=True)
        elif what=='ENV': self.env |= {k: self.inside(v) for k,v in (o.split('=', 1) for o in shlex.split(rest)) if k!='PIP_NO_CACHE_DIR'}
        elif what=='COPY': self.copy(*rest.split())
        elif what=='RUN': self.sh(self.inside(re.sub(r'useradd [^&]*&&', '', rest)).replace('pip install', 'pip install -qq'))
        elif what=='VOLUME':
            self.volumes = rest.split()
            for p in self.volumes:
                (self.at(p)/'probe').write_text('')
                (self.at(p)/'probe').unlink()
        elif what=='CMD': self.cmd = json.loads(rest)
        elif what not in ('ARG','USER','EXPOSE'): sys.exit(f'{what}: this check does not know the instruction')

    def copy(self, *paths):
        "Files of the build context"
        *src,dst = paths
        for s in src:
            took = [f for f in self.files if f==s or f.startswith(s+'/')]
            if not took: sys.exit(f'COPY {s}: nothing of it is in the build context')
            for f in took:
                to = self.at(dst)/Path(f).name if f==s else self.at(dst)/f[len(s)+1:]
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root/f, to)

    def build(self, steps):
        "Carry out what is not done yet; the steps that are done must be the first ones"
        while self.done!=steps[:len(self.done)] or len(self.done)>len(steps):
            if self.done[-1][0]!='CMD': sys.exit('the targets have no stage in common: check each alone, with --target')
            self.done.pop()
        for step in steps[len(self.done):]:
            self.carry_out(*step)
            self.done.append(step)

def check_folders(image):
    "The folders that ENV names, and where libraries keep their files"
    print('folders that ENV names:', flush=True)
    project = image.inside('/project')
    named = {k: v for k,v in image.env.items() if v.startswith(project)}
    for v in named.values(): check_writable(v, image.scratch)
    check_volumes([image.inside(v) for v in image.volumes], image.env)
    for k in ('HOME','GPFQ_CACHE','XDG_CACHE_HOME','MPLCONFIGDIR','NUMBA_CACHE_DIR','IPYTHONDIR','JUPYTER_RUNTIME_DIR'):
        if k not in named: sys.exit(f'ENV {k}: expected a folder below /project, where any user may write')
    for folder in image.sh(['python','-c',ASK], capture_output=True, text=True).stdout.split():
        if folder not in named.values(): sys.exit(f'a library keeps its files in {folder}: expected one of the folders that ENV names')
    print(*(f'  {k} {v.removeprefix(str(image.scratch))}' for k,v in named.items()), sep='\n')

def check_commands(image):
    "What the image is for: each command answers, and finds its notebooks"
    image.sh(image.cmd, stdout=subprocess.DEVNULL)
    ini = ConfigParser()
    ini.read(root/'settings.ini')
    for name in re.findall(r'^\s*(\w+)=', ini['DEFAULT']['console_scripts'], flags=re.M):
        print(f'docker run IMAGE {name} --help', flush=True)
        image.sh([name,'--help'], stdout=subprocess.DEVNULL)
    print('templates:', flush=True)
    image.sh(['python','-c','from importlib.resources import files; print(*sorted(f.name for f in (files("gpfq_nb")/"cells").iterdir()))'])

def check_lab(image):
    "JupyterLab starts, shows the notebooks, saves one as the image's user could, and one of them runs"
    notebooks = image.at('/project/nbs')
    shut = [p for p in (notebooks, *notebooks.rglob('*')) if p.stat().st_mode & (0o777 if p.is_dir() else 0o666) != (0o777 if p.is_dir() else 0o666)]
    if shut: sys.exit(f'{shut[0]}: only its owner may save there, and `docker run --user` is somebody else')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    token = secrets.token_hex(16)
    print(' '.join(image.cmd), flush=True)
    inner = {'--ip=0.0.0.0': '--ip=127.0.0.1', '--port=8888': f'--port={port}'}     # not to be seen from outside, beside others
    if not set(inner) <= set(image.cmd): sys.exit(f'CMD of lab: expected {" and ".join(inner)}, the port that EXPOSE names')
    cmd = [inner.get(a, image.inside(a)) for a in image.cmd] + [f'--IdentityProvider.token={token}','--allow-root']
    log = open(Path(image.scratch)/'lab.log', 'w')
    server = subprocess.Popen(cmd, cwd=image.inside(image.cwd), env=image.env, stdout=log, stderr=log)
    def ask(path, **kw):
        with urlopen(Request(f'http://127.0.0.1:{port}/{path}', headers=dict(Authorization=f'token {token}'), **kw), timeout=30) as r:
            return r.read()
    try:
        for _ in range(120):
            try: ask('api'); break
            except OSError:
                if server.poll() is not None: sys.exit(f'JupyterLab has ended: {(Path(image.scratch)/"lab.log").read_text()[-2000:]}')
                time.sleep(.5)
        shown = {c['name'] for c in json.loads(ask('api/contents'))['content']}
        have = {Path(f).name for f in image.files if re.fullmatch(r'nbs/[^/]*\.ipynb', f)}
        if not have<=shown: sys.exit(f'JupyterLab does not show {sorted(have-shown)[0]}')
        if b'jupyterlab' not in ask('lab').lower(): sys.exit('the server has no page of JupyterLab')
        first = sorted(have)[0]
        model = json.loads(ask(f'api/contents/{first}'))
        body = json.dumps(dict(type='notebook', content=model['content'])).encode()
        ask(f'api/contents/{first}', method='PUT', data=body)
        print(f'JupyterLab shows {len(have)} notebooks, and saves them', flush=True)
    finally:
        server.terminate()
        server.wait(30)
        log.close()
    print(f'running {first}', flush=True)
    image.sh(['jupyter','nbconvert','--to','notebook','--execute','--stdout',f'nbs/{first}'], stdout=subprocess.DEVNULL)

def main(scratch, targets):
    "Build targets in a scratch folder, and check each"
    found = stages(instructions((root/'Dockerfile').read_text()))
    last = list(found)[-1]
    for t in targets:
        if t not in found: sys.exit(f'no stage {t} in the Dockerfile: expected one of {", ".join(found)}')
    image = Image(scratch, [step for _,steps in found.values() for step in steps])
    for t in sorted(targets, key=lambda t: t!=last):
        print(f'== target {t}', flush=True)
        image.build(chain(t, found))
        check_folders(image)
        check_lab(image) if t=='lab' else check_commands(image)
    print('The Dockerfile holds.')

if __name__=='__main__':
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--keep', action='store_true', help='leave the scratch folder')
    a.add_argument('--target', action='append', help='one stage alone; may be given again')
    o = a.parse_args()
    targets = o.target or ['commands','lab']
    if o.keep: main(tempfile.mkdtemp(), targets)
    else:
        with tempfile.TemporaryDirectory() as t: main(t, targets)
