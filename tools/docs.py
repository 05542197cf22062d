"""README.md and the documentation site, from the notebooks as they are committed.

    python tools/docs.py readme         write README.md and the figures it shows
    python tools/docs.py site [DIR]     build the site (default: _site); a warning is an error

No cell is run: what the notebooks hold is what the reader sees, and the same notebooks give the same bytes.
Cells marked `#| hide` are left out, `#| echo: false` shows outputs only, `#| output: false` code only.
"""
import ast, base64, os, re, shutil, sys, tempfile
from importlib import import_module
from pathlib import Path
import nbformat
from fastcore.foundation import L
from nbdev.config import get_config
from nbdev.doclinks import nbglob, patch_name
from nbformat.v4 import new_markdown_cell

root = Path(__file__).resolve().parent.parent
nbs,index = root/'nbs',root/'nbs'/'index.ipynb'
note = '<!-- Written by tools/docs.py from nbs/index.ipynb: edit that one. -->'

# -- what a reader sees of a notebook

re_directive = re.compile(r'^#\|\s*([\w-]+):?[ \t]*(.*)\n?', re.M)
# a fenced block, a link (1: its bang, 2: its text, 3: where to), or code within a line
re_span = re.compile(r'^```.*?^```|(!?)\[((?:[^\[\]`]|`[^`\n]*`)*)\]\(([^()\s]+)\)|`[^`\n]+`', re.M|re.S)
re_ansi = re.compile(r'\x1b\[[0-9;]*m')

def notebooks(): return sorted(nbglob(nbs, as_path=True), key=lambda p: (len(p.relative_to(nbs).parts), str(p)))

def directives(cell): return dict(re_directive.findall(cell.source)) if cell.cell_type=='code' else {}

def visible(nb):
    "The cells that readers see, without directives, and each one's directives"
    for c in nb.cells:
        d = directives(c)
        if {'hide','default_exp'} & d.keys() or d.get('include')=='false' or c.cell_type=='raw': continue
        if c.cell_type=='code':
            c.source = re_directive.sub('', c.source).strip()
            if d.get('output')=='false': c.outputs = []
            for o in c.outputs:
                if 'text' in o: o.text = re_ansi.sub('', o.text)
        if c.source or c.get('outputs'): yield c,d

def rewrite(md, page, link, code=str):
    "Markdown with each relative link made anew by `link(bang, text, path, anchor)`, and code in a line by `code`; a link to nothing is an error"
    def one(m):
        bang,text,to = m.groups()
        if to is None: return m[0] if m[0].startswith('```') else code(m[0])
        to,_,anchor = to.partition('#')
        if not to or re.match(r'\w+:', to): return m[0]
        path = (page.parent/to).resolve()
        if not path.exists() or root not in path.parents:
            raise SystemExit(f"{page.relative_to(root)} links to {to!r}: from its folder, that is no file of the project")
        return link(bang, text, path, anchor and '#'+anchor)
    return re_span.sub(one, md)

# -- README.md

def fence(text, lang=''): return f"```{lang}\n{text.rstrip()}\n```"

def table(html):
    "A DataFrame's HTML without what GitHub would print or drop"
    html = re.sub(r'<style.*?</style>|</?div.*?>|<p>\d+ rows.*?</p>', '', html, flags=re.S)
    html = re.sub(r' (style|class|border|id)="[^"]*"', '', html)
    return re.sub(r'\n\s*', '\n', html).strip()

def output(o, name, files):
    "One output as markdown; a figure goes to `files`"
    if o.output_type=='stream': return fence(o.text)
    if o.output_type=='error': raise SystemExit(f"{index.relative_to(root)} holds an error: {o.ename}: {o.evalue}")
    d = o.data
    if 'text/markdown' in d: return d['text/markdown']
    if 'image/png' in d:
        files[name] = base64.b64decode(d['image/png'])
        alt = o.get('metadata', {}).get('image/png', {}).get('alt', '')
        return f'![{alt}]({name})'
    return table(d['text/html']) if 'text/html' in d else fence(d.get('text/plain',''))

def readme():
    "`{path: bytes}` of README.md and its figures"
    files,parts = {},[]
    def to_root(bang, text, path, anchor): return f'{bang}[{text}]({path.relative_to(root).as_posix()}{anchor})'
    for c,d in visible(nbformat.read(index, 4)):
        if c.cell_type=='markdown': parts.append(rewrite(c.source, index, to_root)); continue
        if c.source and d.get('echo')!='false': parts.append(fence(c.source, 'python'))
        parts += [output(o, f'nbs/index_files/{c.id}_{i}.png', files) for i,o in enumerate(c.outputs)]
    head,*rest = parts
    return {'README.md': '\n\n'.join([note, head, *rest]).strip().encode()+b'\n', **files}

def write(files):
    "Write `{path: bytes}`, and remove figures that are no longer shown"
    for f in (nbs/'index_files').glob('*'):
        if f.relative_to(root).as_posix() not in files: f.unlink()
    for f,b in files.items():
        (root/f).parent.mkdir(parents=True, exist_ok=True)
        if not (root/f).exists() or (root/f).read_bytes()!=b: (root/f).write_bytes(b)

# -- the site

conf = dict(extensions=['myst_nb','sphinx.ext.mathjax','sphinx-mathjax-offline'], html_theme='sphinx_book_theme',
    nb_execution_mode='off', nb_merge_streams=True, myst_enable_extensions=['dollarmath','amsmath'], myst_heading_anchors=3,
    myst_links_external_new_tab=True, suppress_warnings=['myst.header'], exclude_patterns=['attached'],
    nb_code_prompt_show='Imports', nb_code_prompt_hide='Imports', templates_path=['_templates'], html_static_path=['_static'], html_css_files=['book.css'],
    html_context=dict(default_mode='auto'), html_favicon='icon.svg', html_copy_source=False, html_show_sourcelink=False, html_show_sphinx=False,
    nb_ipywidgets_js={}, html_theme_options=dict(use_download_button=False, home_page_in_toc=True, show_toc_level=2, navbar_persistent=[]))

css = '''
.bd-container .bd-container__inner { max-width: 110rem }                /* room for a line of code */
.bd-main .bd-content .bd-article-container { max-width: 68em }
div.cell_input pre, div.cell_output pre, div.highlight pre { font-size: .82em }
.bd-content div.cell_output table :is(td, th) { padding: .15em .6em }
.bd-content div.cell_output table tbody th { white-space: nowrap }           /* 1e-4 */
code.download { font: inherit; color: inherit }
div.cell div.cell_input { border-left-color: var(--pst-color-border) }  /* examples and tests… */
div.cell.tag_definition div.cell_input { border-left-color: var(--pst-color-primary) }  /* …and what is exported */
'''

# the theme's own sidebar resolves the whole tree anew for each page, which is half of the time that the site takes
sidebar = '''
<nav class="bd-links bd-docs-nav" aria-label="Main"><div class="bd-toc-item navbar-nav active">
<ul class="nav bd-sidenav bd-sidenav__home-link"><li class="toctree-l1{{ ' current active' if pagename == root_doc }}">
<a class="reference internal" href="{{ pathto(root_doc) }}">{{ root_title }}</a></li></ul>
{% for caption, pages in groups %}
<p aria-level="2" class="caption" role="heading"><span class="caption-text">{{ caption }}</span></p>
<ul class="nav bd-sidenav">
{% for page, title in pages %}
<li class="toctree-l1{{ ' current active' if page == pagename }}"><a class="{{ 'current ' if page == pagename }}reference internal"
href="{{ pathto(page) }}">{{ title|e }}</a></li>
{% endfor %}
</ul>
{% endfor %}
</div></nav>
'''

# three levels of a grid; without an icon a browser asks for one, and is told that there is none
icon = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><path d="M0 4V3h1V2h1V1h2v3z" fill="#36c"/></svg>'

def definitions(source):
    "Public names that a cell defines, methods written with `@patch` as `Class.name`"
    defs = (n for n in ast.parse(source).body if isinstance(n, (ast.FunctionDef,ast.AsyncFunctionDef,ast.ClassDef)))
    return [n for d in defs for n in L(patch_name(d)) if not re.search(r'(^|\.)_', n)]

def only_imports(source):
    "Whether a cell does nothing but import; one that begins with a magic, such as `%%sh`, does"
    return source[0]!='%' and all(isinstance(n, (ast.Import,ast.ImportFrom)) for n in ast.parse(source).body)

def label(mod, name):
    "The target of a definition; targets do not tell `Solver` from `solver`"
    kind = 'class' if name[0].isupper() and '.' not in name else 'def'
    return re.sub(r'\W', '-', f'{kind}-{mod}-{name}'.lower())

def module(nb):
    "The module that a notebook exports to, or None"
    return next((d['default_exp'] for d in map(directives, nb.cells) if 'default_exp' in d), None)

def exports(page):
    "`(cell, module, names)` of each exported cell"
    nb = nbformat.read(page, 4)
    for c in nb.cells:
        if {'export','exports'} & directives(c).keys(): yield c.id,module(nb),definitions(c.source)

def where_defined(pages):
    "`{name: (page, label)}` of every name that one notebook alone defines"
    found = {}
    for p in pages:
        for _,mod,names in exports(p):
            for n in names: found.setdefault(n, []).append((p, label(mod, n)))
    return {n: o[0] for n,o in found.items() if len(o)==1}

def study_page(folder):
    "Where the site has the page of a study"
    return Path('pages')/folder.name/'page.html'

RESULTS = 'study.json','log.csv','result.json','history.csv','layers.csv','measures.csv','disturbances.csv'    # what of a study is shown

def write_study(folder, out):
    "A page to explore a study, beside a copy of the results that it links to"
    from gpfq_nb.explorer import write_page
    page = out/study_page(folder)
    files = [f for pattern in ('*', '*/*/*') for f in folder.glob(pattern) if f.name in RESULTS and f.is_file()]
    for f in files:
        copy = page.parent/f.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f, copy)
    write_page([page.parent], page)

def chapter(page, names, src, shown):
    "A notebook for Sphinx: links and figures at their places, a target at every definition, imports folded away; `shown`: the studies it links to"
    nb,out = nbformat.read(page, 4),src/page.relative_to(nbs)
    out.parent.mkdir(parents=True, exist_ok=True)
    targets = {i: [label(mod, n) for n in ns] for i,mod,ns in exports(page)}

    def place(bang, text, path, anchor):
        if nbs in path.parents and path.suffix=='.ipynb': return f'[{text}]({os.path.relpath(path, page.parent)}{anchor})'
        if (path/'study.json').is_file():
            shown.add(path)
            return f'<a href="{os.path.relpath(nbs/study_page(path), page.parent)}">{text}</a>'
        if path.is_dir(): return text
        copy = src/'attached'/path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
        to = os.path.relpath(copy, out.parent)
        return f'![{text}]({to})' if bang else f'{{download}}`{text} <{to}>`'

    here = {n.rpartition('.')[2] for _,_,ns in exports(page) for n in ns}
    def linked(code):
        name = re.fullmatch(r'([\w.]+)(\(\))?', code[1:-1])
        there,target = names.get(name and name[1], (page,None))
        return code if there==page or name[1] in here else f'[{code}](#{target})'

    cells = []
    for c,d in visible(nb):
        if c.cell_type=='markdown':
            c.source = rewrite(c.source, page, place, linked)
        else:
            if targets.get(c.id): cells.append(new_markdown_cell('\n'.join(f'({t})=' for t in targets[c.id]), id=f'{c.id}-def'))
            tags = ['definition'] if targets.get(c.id) else ['remove-input'] if d.get('echo')=='false' else ['hide-input'] if c.source and only_imports(c.source) else []
            c.metadata = dict(tags=tags)
        cells.append(c)
    nb.cells = cells
    nb.metadata['language_info'] = dict(name='python', pygments_lexer='ipython3')
    nbformat.write(nb, out)

def reference(pages, names, src):
    "A page for each module: what nbdev's `show_doc` says of every public name, and where it is defined"
    from nbdev.showdoc import show_doc
    lib,written = get_config().lib_name,[]
    for page in pages:
        mod = module(nbformat.read(page, 4))
        if not mod: continue
        py = import_module(f'{lib}.{mod}')
        up = os.path.relpath(page, nbs/'reference')
        parts = [f'# {lib}.{mod}', f'> {(py.__doc__ or "").strip()}', f'From the notebook [{page.stem}]({up}).']
        for n in [n for _,_,ns in exports(page) for n in ns]:
            o = py
            for a in n.split('.'): o = o.__dict__[a] if isinstance(o, type) else getattr(o, a)
            o = getattr(o, 'fget', None) or getattr(o, '__func__', None) or o      # properties and class methods
            ours = not isinstance(o, type) or any('__init__' in vars(k) for k in o.__mro__ if k.__module__.startswith(lib))
            doc = show_doc(o, name=n, title_level=2)._repr_markdown_() if ours else f'## {n}\n\n*{o.__doc__}*'    # not another library's __init__
            doc = re.sub(r'^---\n+|^\[source\].*\n+', '', doc, flags=re.M)
            parts += [doc.strip(), f'[Definition](#{label(mod, n)})']
        (src/'reference').mkdir(exist_ok=True)
        (src/'reference'/f'{mod}.md').write_text('\n\n'.join(parts)+'\n')
        written.append(f'reference/{mod}')
    return written

tutorials = 'photographs','cifar','transformer','explore'   # in this order; the other pages of nbs/guides are how-tos
book = {0: 'One layer', 10: 'A network', 34: 'Files and artifacts', 45: 'Data', 55: 'Training', 64: 'Out of the lab',
    74: 'Before it runs', 79: 'Studies', 94: 'The command line', 'around': 'Looking around', 'cells': 'Cells'}
findings = {'studies': 'Findings: studies', 'benchmarks': 'Findings: benchmarks'}

def part(page):
    "The part of the site that a notebook belongs to, by its name, its number or its folder"
    where = page.parent.name
    if page.stem in tutorials and where in ('guides','nbs'): return 'Tutorials'
    if where=='guides': return 'How-to'
    if where in findings: return findings[where]
    if where in book: return f'The book: {book[where]}'
    number = re.match(r'\d\d[a-z]?', page.name)[0]
    return 'The book: ' + book[max((n for n in book if isinstance(n, int) and n<=int(number[:2]))) if number<'98a' or number=='99' else 'around']

def order(page):
    "Tutorials, how-tos, the book, findings; within them as they are numbered, or named"
    kinds,folders = ['Tutorials','How-to','The book','Findings'],['guides','nbs','cells','studies','benchmarks']
    kind = part(page).partition(':')[0]
    if kind=='Tutorials': return 0,tutorials.index(page.stem)
    return kinds.index(kind),folders.index(page.parent.name)

def contents(pages, ref):
    "`{caption: names of pages}`: tutorials, how-tos, the book by its parts, findings, the reference"
    groups = {}
    for p in sorted((p for p in pages if p!=index), key=order):
        groups.setdefault(part(p), []).append(p.relative_to(nbs).with_suffix('').as_posix())
    return {k: v for k,v in (groups | {'Reference': ref}).items() if v}

def toctree(groups):
    "The same as Sphinx wants it, for the links to the page before and after"
    return '\n\n'.join('\n'.join(['```{toctree}', ':hidden:', f':caption: {g}', *ps, '```']) for g,ps in groups.items())

def title(name):
    "What a page is called in the sidebar"
    page = nbs/f'{name}.ipynb'
    if not page.is_file(): return name.rpartition('/')[2]
    heading = next(c.source for c in nbformat.read(page, 4).cells if c.cell_type=='markdown')
    return re.sub(r'[`$*]', '', re.match(r'# (.*)', heading)[1])

def hush(static):
    "Have the theme's scripts say nothing on the console, where a reader looks for errors"
    for f in static.glob('scripts/*.js'):
        code = f.read_text(encoding='utf-8')
        f.write_text(code.replace('console.log(', 'void('), encoding='utf-8')

def site(out):
    "Build the site at `out`; the exit status is Sphinx's"
    from sphinx.cmd.build import main
    pages,cfg = notebooks(),get_config()
    names = where_defined(pages)
    with tempfile.TemporaryDirectory() as t:
        src = Path(t)/'src'
        shown = set()
        for p in pages: chapter(p, names, src, shown)
        first = nbformat.read(src/'index.ipynb', 4)
        groups = contents(pages, reference(pages, names, src))
        first.cells.append(new_markdown_cell(toctree(groups), id='contents'))
        nbformat.write(first, src/'index.ipynb')
        (src/'_static').mkdir()
        (src/'_templates').mkdir()
        (src/'_templates'/'sbt-sidebar-nav.html').write_text(sidebar.lstrip())
        (src/'icon.svg').write_text(icon)
        (src/'_static'/'book.css').write_text(css.lstrip())
        named = [(g, [(p, title(p)) for p in ps]) for g,ps in groups.items()]
        settings = dict(conf, html_context=conf['html_context'] | dict(groups=named), project=cfg.title, html_title=cfg.title, author=cfg.author, copyright=cfg.copyright)
        (src/'conf.py').write_text('\n'.join(f'{k} = {v!r}' for k,v in settings.items())+'\n')
        bad = main(['-q','-W','--keep-going','-d',f'{t}/doctrees',str(src),f'{t}/html'])
        hush(Path(t)/'html'/'_static')
        for folder in sorted(shown): write_study(folder, Path(t)/'html')
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(f'{t}/html', out)
    return bad

if __name__=='__main__':
    os.chdir(root)
    what,*rest = sys.argv[1:] or ['']
    if   what=='readme': write(readme())
    elif what=='site': sys.exit(site(root/(rest or ['_site'])[0]))
    else: sys.exit(__doc__)
