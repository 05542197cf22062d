"""How the code of the notebooks is laid out: lines a cell, definitions a cell, long lines, lines a module.

    python tools/metrics.py [COMMIT...]     each commit, and the working tree

Counted are cells that are exported (`#| export`), without directives and blank lines; a long line has over 120 characters.
No limit is enforced anywhere: the numbers are there to be looked at.
"""
import ast, json, re, statistics, subprocess, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent

def git(*args): return subprocess.run(['git',*args], cwd=root, check=True, capture_output=True, text=True).stdout

def notebooks(commit):
    "name -> the parsed notebook, at a commit or in the working tree"
    if commit is None:
        paths = [p for p in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts]
        return {p.relative_to(root).as_posix(): json.loads(p.read_text()) for p in paths}
    names = [n for n in git('ls-tree','-r','--name-only',commit,'nbs').splitlines() if n.endswith('.ipynb')]
    return {n: json.loads(git('show',f'{commit}:{n}')) for n in names}

def exported(nb):
    "Sources of the cells that are exported, without directives"
    for c in nb['cells']:
        source = ''.join(c['source'])
        if c['cell_type']=='code' and re.search(r'^#\|\s*export\b', source, re.M): yield re.sub(r'^#\|.*\n?', '', source, flags=re.M)

def definitions(source):
    kinds = ast.FunctionDef,ast.AsyncFunctionDef,ast.ClassDef
    return sum(isinstance(n, kinds) for n in ast.parse(source).body)

def bodies(source):
    "Lines of each function's body"
    for n in ast.walk(ast.parse(source)):
        if isinstance(n, ast.FunctionDef): yield n.body[-1].end_lineno-n.body[0].lineno+1

def percentile(values, share): return sorted(values)[min(len(values)-1, int(share*len(values)))]

def measure(commit):
    "The numbers of one commit"
    cells = {name: list(exported(nb)) for name,nb in notebooks(commit).items()}
    sources = [s for ss in cells.values() for s in ss]
    code = [s for s in sources if definitions(s)]                       # neither imports nor constants
    lines = [l for s in sources for l in s.splitlines() if l.strip()]
    sizes = [sum(bool(l.strip()) for l in s.splitlines()) for s in code]
    functions = [n for s in sources for n in bodies(s)]
    modules = {name: sum(bool(l.strip()) for s in ss for l in s.splitlines()) for name,ss in cells.items() if ss}
    largest = max(modules, key=modules.get)
    return {'export cells with a definition': len(code),
        'lines a cell: median': statistics.median(sizes), 'lines a cell: 90th percentile': percentile(sizes, .9), 'lines a cell: most': max(sizes),
        'lines a function body: median': statistics.median(functions), 'lines a function body: 90th percentile': percentile(functions, .9),
        'cells with several definitions, %': round(100*sum(definitions(s)>1 for s in code)/len(code), 1),
        'lines over 120 characters, %': round(100*sum(len(l)>120 for l in lines)/len(lines), 1),
        'longest line': max(map(len, lines)),
        'exported lines': len(lines), 'modules': len(modules), 'modules over 300 lines': sum(n>300 for n in modules.values()),
        'largest module': f'{Path(largest).stem}: {modules[largest]}'}

def main(commits):
    columns = {c or 'now': measure(c) for c in [*commits, None]}
    print(f"{'':42}" + ''.join(f'{c[:24]:>26}' for c in columns))
    for row in next(iter(columns.values())): print(f'{row:42}' + ''.join(f'{m[row]!s:>26}' for m in columns.values()))

if __name__=='__main__': main(sys.argv[1:])
