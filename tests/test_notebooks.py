"""Every notebook runs from top to bottom, and prints what was saved with it; the ones in nbs/cells are papermill's to run.

What a cell prints, and the tables that it shows, are compared with its saved output but for the numbers: times, and sums
whose last digits depend on the processor. Figures are not, nor cells that say `#| varies`: what they print depends on
the machine. Where a cell says that it skipped something that is not on this machine, the comparison of its notebook ends.
"""
import copy, html, re
from itertools import takewhile
import matplotlib.pyplot as plt, nbformat, pandas as pd, pytest
from execnb.shell import CaptureShell
from fastcore.xtras import working_directory
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor

cfg = get_config()
notebooks = sorted(p for p in nbglob(as_path=True) if p.parent.name!='cells')
UNSEEN = {'hide', 'include', 'varies'}      # directives of cells that are not compared
SKIPPED = 'skipped: '                       # what a cell prints first that lacks something on this machine
FIGURES = 'image/png', 'image/svg+xml', 'text/markdown', 'application/vnd.jupyter.widget-view+json', 'application/javascript'

def directives(cell): return getattr(cell, 'directives_', None) or {}

def text_of(output):
    "What one output tells in words; of figures, warnings and progress nothing"
    if output['output_type']=='stream': return ''.join(output['text']) if output['name']=='stdout' else ''
    data = output.get('data', {})
    if any(k in data for k in FIGURES): return ''
    if 'text/html' in data: return html.unescape(re.sub(r'<style.*?</style>|<[^>]*>', ' ', ''.join(data['text/html']), flags=re.S))
    return ''.join(data.get('text/plain', ''))

def shown(outputs):
    "What a cell tells, with # for each number or hash and a blank for whatever is between two words"
    text = re.sub(r'\x1b\[[0-9;]*[A-Za-z]', '', ' '.join(text_of(o) for o in outputs))      # of colours and erased lines nothing
    text = re.sub(r'\b[0-9a-f]{32,}\b', '#', text)
    return ' '.join(re.sub(r'-?\d[\d,.]*(e[-+]?\d+)?', '#', text).split())

def is_complete(text):
    "Did a cell have all that it had when it was saved?"
    return text['saved'].startswith(SKIPPED) or not text['now'].startswith(SKIPPED)

def run(path, skipped):
    "Run a notebook; the cells that ran, each with the outputs it was saved with"
    nb = NBProcessor(path, procs=FrontmatterProc, process=True).nb
    saved = {c.id: copy.deepcopy(c.get('outputs', [])) for c in nb.cells}
    for c in nb.cells:
        if c.cell_type=='code': c.outputs = []          # a cell that shows nothing would keep what it was saved with
    def is_left_out(c): return c.cell_type!='code' or directives(c).get('eval:', [''])[0].lower()=='false' or bool(skipped & directives(c).keys())
    shell = CaptureShell(path)
    try:
        with working_directory(path.parent), pd.option_context('display.max_columns', 20): shell.run_all(nb, exc_stop=True, preproc=is_left_out)
    except Exception: pytest.fail(f'{path.name}: {shell.prettytb(fname=path)}', pytrace=False)
    finally: plt.close('all')
    return [(c, saved[c.id]) for c in nb.cells if not is_left_out(c)]

def test_outputs_are_compared_in_words():
    printed = [dict(output_type='stream', name='stdout', text=['3 of  4\n', 'right']), dict(output_type='stream', name='stderr', text='!')]
    assert shown(printed) == '# of # right'
    table = dict(output_type='execute_result', data={'text/html': '<style>p</style><th>a</th><td>b</td> 0 1.5e-3 &lt;2', 'text/plain': '...'})
    figure = dict(output_type='display_data', data={'image/png': 'xx', 'text/plain': '<Figure>'})
    assert shown([table, figure]) == 'a b # # <#' and shown([figure]) == ''
    printed[0]['text'] = ['sha256: ' + 'ab12'*16, ' deadbeef']
    assert shown(printed) == 'sha#: # deadbeef'

def test_comparison_ends_where_something_is_lacking():
    saved,lacking = dict(saved='top# #', now='top# #'), dict(saved='top# #', now='skipped: no weights here')
    assert is_complete(saved) and is_complete(dict(saved='skipped: none', now='skipped: none')) and not is_complete(lacking)

def test_a_cell_that_shows_nothing_any_more_is_told(tmp_path):
    cell = nbformat.v4.new_code_cell('shown = 1', outputs=[nbformat.v4.new_output('stream', name='stdout', text='before')])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path/'a.ipynb')
    (c,was), = run(tmp_path/'a.ipynb', set())
    assert shown(was)=='before' and shown(c.outputs)==''

@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.relative_to(cfg.nbs_path).as_posix())
def test_notebook(path, request, monkeypatch):
    skipped = set(cfg.tst_flags.split()) - ({'slow'} if request.config.getoption('--slow') else set())
    monkeypatch.syspath_prepend(str(cfg.config_path))
    monkeypatch.setenv('IN_TEST', '1')
    seen = [(c, was) for c,was in run(path.absolute(), skipped) if not UNSEEN & directives(c).keys()]
    texts = {c.id: dict(saved=shown(was), now=shown(c.get('outputs', []))) for c,was in seen}
    compared = takewhile(lambda found: is_complete(found[1]), texts.items())
    other = {i: t for i,t in compared if t['saved']!=t['now']}
    assert not other, f'{path.name}: saved outputs are not what these cells show now; run them again: {other}'
