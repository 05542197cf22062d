"The page of a study in headless Chromium: it shows what the log says, answers mouse and keyboard, and asks nobody."
import json, re
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
import pandas as pd, pytest
from conftest import root

pytest.importorskip('altair', reason='no package altair')
pytest.importorskip('vl_convert', reason='no package vl-convert-python')
from gpfq_nb.explorer import write_page
from gpfq_nb.log import read_log
from gpfq_nb.pagerows import example_study
from gpfq_nb.rows import finished

EVIL = '</script><script>alert(1)</script><img src=https://example.org/x onerror=alert(1)>'
READY = 'body[data-state=ready]'

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "Two studies, one of two data sets; and one whose log would like to be more than a log"
    home = tmp_path_factory.mktemp('studies')
    example_study(home/'a', ('digits', 'cifar10'))
    example_study(home/'b', lrs=(1e-3, 3e-3), seed=1)
    log = read_log(home/'b')
    for k in ('variant', 'method', 'levels', 'data', 'model', 'cell'): log[k] = log[k].where(log[k].isna(), log[k] + EVIL)
    (home/'evil').mkdir()
    log.drop(columns='study').to_csv(home/'evil'/'log.csv', index=False)
    return home

@pytest.fixture(scope='module')
def log(home):
    "The networks of both studies, with what they lose in points"
    both = pd.concat([finished(read_log(home/s)) for s in 'ab'])
    return both.assign(lost=100*(both.float_top1 - both.quant_top1))

@pytest.fixture(scope='module')
def both(home): return write_page([home/'a', home/'b'], home/'both.html')

@pytest.fixture
def opened(chromium):
    "Opens a file in a window, which asks for nothing else and says nothing, whatever is done with it"
    heard,pages = [],[]
    def open_file(path, width=1280, ready=READY):
        page = chromium.new_page(viewport=dict(width=width, height=900))
        pages.append(page)
        for event in ('console', 'pageerror'): page.on(event, lambda m: heard.append(str(getattr(m, 'text', m))))
        page.on('dialog', lambda d: (heard.append(d.message), d.dismiss()))
        page.on('request', lambda r: None if r.url == path.as_uri() or r.url.startswith('data:') else heard.append(r.url))
        page.goto(path.as_uri())
        if ready: page.wait_for_selector(ready)
        return page
    yield open_file
    for p in pages: p.close()
    assert heard == []

def pick(page, name, label):
    "Choose by a control above the charts"
    box = page.locator('#controls .vega-bind', has=page.locator('.vega-bind-name', has_text=re.compile(f'^{name}')))
    box.locator('select').select_option(label=label)

def points(page, chart='drop'):
    "What the points of a chart say of themselves: a dict each"
    texts = page.eval_on_selector_all(f'#{chart} [aria-roledescription=point]', 'all => all.map(p => p.ariaLabel)')
    return [dict(part.split(': ', 1) for part in t.split('; ')) for t in texts]

def table(page):
    "The rows of the table: column -> text, a dict each"
    read = '''rows => rows.map(r => Object.fromEntries([...r.cells].map((c, i) =>
        [document.querySelectorAll('#head th')[i].dataset.key, c.textContent])))'''
    return page.eval_on_selector_all('#body tr', read)

def choose_digits(page):
    page.select_option('#group', label='digits, tiny')
    page.wait_for_function("document.querySelectorAll('#drop [aria-roledescription=point]').length > 9")

# -- what it shows

def test_a_page_is_silent(opened, both): opened(both)

@pytest.mark.parametrize('width', [390, 1280])
def test_a_report_is_silent_and_no_wider_than_the_window(opened, width):
    report = root/'runs'/'cifar10-resnet18'/'report.html'
    if not report.is_file(): pytest.skip('the committed study is not in this folder')
    page = opened(report, width, ready='h1')
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert page.evaluate('document.images.length') > 9 and page.locator('nav li').count() > 5

def test_points_are_the_means_of_the_log(opened, both, log):
    page = opened(both)
    choose_digits(page)
    pick(page, 'bits', '2')
    want = log[(log.data == 'digits') & (log.bits == 2)].groupby(['study', 'variant', 'lr']).lost.mean()
    got = {(p['study'], p['method'], float(p['lr'])): float(p['lost (points)']) for p in points(page)}
    assert got == {k: pytest.approx(v, abs=.006) for k,v in want.items()}

def test_controls_change_the_chart(opened, both, log):
    page = opened(both)
    choose_digits(page)
    own = log[log.data == 'digits']
    pick(page, 'bits', 'all')
    assert len(points(page)) == len(own.groupby(['study', 'variant', 'lr', 'bits']))
    pick(page, 'seed', 'each')
    page.click('#all')
    assert len(points(page)) == len(own) == len(table(page))
    pick(page, 'method', 'msq')
    assert {p['method'] for p in points(page)} == {'msq'} == {r['label'] for r in table(page)}
    pick(page, 'seed', 'only 1')
    assert len(points(page)) == (own[own.variant == 'msq'].seed == 1).sum() == len(table(page))
    pick(page, 'seed', 'mean')
    height = "all => all.reduce((sum, e) => sum + e.getBoundingClientRect().height, 0)"
    rules = page.eval_on_selector_all('#drop .mark-rule.role-mark line', height)
    pick(page, 'interval', 'none')
    assert page.eval_on_selector_all('#drop .mark-rule.role-mark line', height) < rules/10

def test_files_are_shown_by_size(opened, both, log):
    page = opened(both)
    choose_digits(page)
    want = log[log.data == 'digits'].groupby(['study', 'variant', 'lr', 'bits']).packed_bytes.mean()/1000
    got = [float(p['kB']) for p in points(page, 'size') if 'kB' in p]
    assert sorted(got) == pytest.approx(sorted(want), abs=.001)

def test_a_click_opens_a_network(opened, both, home):
    page = opened(both)
    choose_digits(page)
    pick(page, 'bits', '4')
    pick(page, 'seed', 'only 1')
    mark = page.locator('#drop [aria-roledescription=point][aria-label*="method: gpfq"][aria-label*="study: b"]').first
    lr = float(re.search('; lr: ([^;]*)', mark.get_attribute('aria-label'))[1])
    mark.click()
    page.wait_for_selector('#network[data-id]:not([data-id=""])')
    cell = home/'b'/'quantize'/f'digits_lr={lr}_seed=1_bits=4_gpfq'
    errors = pd.read_csv(cell/'layers.csv').rel_error
    page.click('#network summary')
    shown = [float(t) for t in page.eval_on_selector_all('#network tbody td:nth-child(5)', 'all => all.map(e => e.textContent)')]
    assert shown == pytest.approx(list(errors), rel=.01)
    bars = page.eval_on_selector_all('#parts [aria-roledescription=bar]', 'all => all.map(e => e.ariaLabel)')
    assert sum('relative error' in b for b in bars) == 2
    titles = page.eval_on_selector_all('#parts h3', 'all => all.map(e => e.textContent)')
    assert titles == ['Layers', 'Weights of conv1', 'Weights of fc', 'Training: accuracy', 'Training: loss']
    assert page.eval_on_selector('#network a', 'a => a.getAttribute("href")').endswith('seed%3D1_bits%3D4_gpfq/')
    page.select_option('#parts select', label='step')
    assert page.locator('#parts [aria-roledescription=bar][aria-label*="step: 0.1"]').count() >= 1

def test_on_a_host_without_listings_the_files_are_the_result(chromium, both, home):
    class Host(SimpleHTTPRequestHandler):
        def list_directory(self, path): return self.send_error(404)
        def log_message(self, *args): pass

    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Host, directory=home)) as host, closing(chromium.new_page()) as page:
        Thread(target=host.serve_forever).start()
        try:
            page.goto(f'http://127.0.0.1:{host.server_port}/{both.name}')
            page.wait_for_selector(READY)
            page.click('#body tr button')
            page.click('#network a')
            page.wait_for_url('**/result.json')
            result = json.loads(page.inner_text('body'))
        finally: host.shutdown()
    assert result['kind'] == 'quantize'

def test_who_asks_while_something_is_drawn_is_served(opened, both):
    page = opened(both)
    choose_digits(page)
    page.evaluate("[1, 2].forEach(i => document.querySelectorAll('#body button')[i].click())")
    page.wait_for_selector('#network[data-id]:not([data-id=""])')
    titles = page.eval_on_selector_all('#parts h3', 'all => all.map(e => e.textContent)')
    assert titles == ['Layers', 'Weights of conv1', 'Weights of fc', 'Training: accuracy', 'Training: loss']
    label, bits, lr = (table(page)[2][k] for k in ('label', 'bits', 'at'))
    assert page.inner_text('#title') == f'{label}, {bits} bits, learning rate {lr}'
    page.evaluate("(document.querySelectorAll('#body button')[0].click(), document.querySelector('#close').click())")
    page.wait_for_timeout(1000)
    assert page.locator('#network').is_hidden() and page.locator('#parts section').count() == 0
    page.evaluate("""[0, 1].forEach(i => { const g = document.querySelector('#group');
        g.selectedIndex = i; g.dispatchEvent(new Event('change')); })""")
    page.wait_for_timeout(1500)
    assert page.locator('#controls .vega-bind').count() == 5
    assert page.locator('#drop svg').count() == page.locator('#size svg').count() == 1

# -- the table, and the keyboard

def test_the_table_is_sorted_and_filtered(opened, both):
    page = opened(both)
    choose_digits(page)
    pick(page, 'bits', 'all')
    page.click('#all')
    page.click('#head [data-key=drop] button')
    up = [float(r['drop']) for r in table(page)]
    page.click('#head [data-key=drop] button')
    assert up == sorted(up) and [float(r['drop']) for r in table(page)] == up[::-1] and len(up) == 40
    assert page.locator('#head [aria-sort]').get_attribute('aria-sort') == 'descending'
    page.fill('#filter', 'GPFQ bits=2 lost<30')
    got = table(page)
    assert got and all(r['label'] == 'gpfq' and r['bits'] == '2' and float(r['drop']) < 30 for r in got)
    assert page.inner_text('#count') == f'{len(got)} of 40 networks'
    page.fill('#filter', 'nothing like this')
    assert table(page) == []

def test_it_works_by_keyboard(opened, both):
    page = opened(both)
    choose_digits(page)
    page.focus('#controls select')
    page.keyboard.press('ArrowDown')
    page.focus('#head [data-key=at] button')
    page.keyboard.press('Enter')
    assert page.evaluate('document.activeElement.closest("th").ariaSort') == 'ascending'
    button = page.locator('#body button').nth(3)
    button.focus()
    page.keyboard.press('Enter')
    page.wait_for_selector('#network[data-id]:not([data-id=""])')
    assert page.evaluate('document.activeElement.id') == 'title'
    page.keyboard.press('Escape')
    assert page.locator('#network').is_hidden()
    assert page.evaluate('document.activeElement.closest("tr").rowIndex') == 4

@pytest.mark.parametrize('chart', ['drop', 'size'])
def test_points_take_the_keyboard(opened, both, chart):
    page = opened(both)
    choose_digits(page)
    page.focus(f'#{chart}')
    here = 'document.activeElement.getBoundingClientRect().left'
    seen = []
    for _ in range(3):
        page.keyboard.press('ArrowRight')
        assert page.evaluate('document.activeElement.ariaRoleDescription') == 'point'
        seen.append(page.evaluate(here))
    page.keyboard.press('ArrowLeft')
    assert seen == sorted(seen) and page.evaluate(here) == seen[1]
    said = page.evaluate('document.activeElement.ariaLabel')
    page.keyboard.press('Enter')
    page.wait_for_selector('#network[data-id]:not([data-id=""])')
    assert page.inner_text('#title').startswith(re.search('method: ([^;]*)', said)[1])
    assert float(page.inner_text('#title').rpartition(' ')[2]) == float(re.search('; lr: ([^;]*)', said)[1])

@pytest.mark.parametrize('width', [390, 1280])
def test_nothing_is_wider_than_the_window(opened, both, width):
    page = opened(both, width)
    choose_digits(page)
    pick(page, 'bits', 'all')
    page.locator('#body button').first.click()
    page.wait_for_selector('#network[data-id]:not([data-id=""])')
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    wide = page.eval_on_selector_all('svg.marks', 'all => all.map(e => e.getBoundingClientRect().width)')
    assert len(wide) == 7 and min(wide) > width/4
    inside = page.eval_on_selector_all('svg.marks', 'all => all.every(e => e.getBoundingClientRect().right <= innerWidth)')
    assert inside and page.evaluate("(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.table'))")

# -- what it must bear

def test_texts_of_a_log_stay_texts(opened, home):
    page = opened(write_page([home/'evil'], home/'evil.html'))
    assert page.locator('script').count() == 3 and page.locator('img').count() == 0
    assert any(EVIL in r['label'] for r in table(page))
    page.locator('#body button').first.click()
    page.wait_for_selector('#network[data-id]:not([data-id=""])')
    assert EVIL in page.inner_text('#title') and 'Not in this page' in page.inner_text('#lacking')
    page.locator('#drop [aria-roledescription=point]').first.hover()
    page.wait_for_selector('#vg-tooltip-element.visible')
    assert EVIL in page.inner_text('#vg-tooltip-element')

def test_a_thousand_networks(opened, tmp_path):
    example_study(tmp_path/'s', lrs=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2), seeds=range(10), bits=(2, 3, 4, 8),
        variants=('default', 'gpfq', 'paper', 'qronos', 'msq'))
    path = write_page([tmp_path/'s'], tmp_path/'page.html')
    assert path.stat().st_size < 3_000_000
    page = opened(path)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f'{path.stat().st_size/1e6:.2f} MB, first paint after {paint/1000:.1f} s')
    pick(page, 'bits', 'all')
    assert page.inner_text('#count') == '1000 of 1000 networks' and len(table(page)) == 30
    page.click('#all')
    assert len(table(page)) == 1000
