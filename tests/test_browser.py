"The page of `gpfq_try` in headless Chromium: what it shows is what onnxruntime computes, and it asks nobody else."
import shutil, signal, subprocess, sys, threading
import numpy as np, pytest, torch

onnx = pytest.importorskip('onnx', reason='no package onnx')
onnxruntime = pytest.importorskip('onnxruntime', reason='no package onnxruntime')
pytest.importorskip('onnxscript', reason='no package onnxscript')
pytest.importorskip('playwright.sync_api', reason='no package playwright')
from gpfq_nb.browser import fetch_runtime, page_server
from gpfq_nb.data import load_dataset
from gpfq_nb.models import create_model
from gpfq_nb.onnx import export_onnx
from gpfq_nb.quantize import QuantConfig, quantize_model
from gpfq_nb.train import TrainConfig, train

IMAGES = 40

@pytest.fixture(scope='module')
def runtime():
    "onnxruntime-web, from the cache or by npm"
    try: return fetch_runtime()
    except (ValueError, OSError) as e: pytest.skip(str(e))

# -- three networks for the digits, and what onnxruntime says of them

@pytest.fixture(scope='module')
def digits(): return load_dataset('digits')

@pytest.fixture(scope='module')
def files(digits, tmp_path_factory):
    "A float network as ONNX, and two of fewer bits, in ONNX's own types and packed"
    net = train(create_model('tiny', in_channels=1, seed=0), digits, TrainConfig(epochs=2, batch_size=64), progress=False).model.eval()
    facts = dict(model='tiny', dataset='digits', classes=digits.classes, num_classes=10, mean=digits.mean, std=digits.std,
        in_channels=1, image_size=8)
    home = tmp_path_factory.mktemp('networks')
    paths = [home/f'{name}.onnx' for name in ('float','4-bit','2-bit')]
    example = torch.zeros(8, *digits.shape)
    export_onnx(net, paths[0], 'float', example, facts)
    for path,bits,flavor in ((paths[1], 4, 'qdq'), (paths[2], 2, 'packed')):
        res = quantize_model(net, digits.calibration(64), QuantConfig(bits=bits, method='msq'), progress=False)
        export_onnx(res, path, flavor, example, facts)
    return paths

@pytest.fixture(scope='module')
def oracle(files, digits):
    "Pixels -> the probabilities of each network, by onnxruntime in Python"
    sessions = [onnxruntime.InferenceSession(f) for f in files]
    def probabilities(x):
        x = digits.normalize(torch.as_tensor(x)).numpy()
        logits = np.stack([s.run(None, {s.get_inputs()[0].name: x})[0] for s in sessions]).astype(float)
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers/powers.sum(-1, keepdims=True)     # (networks, n, classes)
    return probabilities

@pytest.fixture(scope='module')
def shown(digits): return load_dataset('digits', test_limit=IMAGES).test

# -- the page, served by the command

@pytest.fixture(scope='module')
def served(files, runtime, tmp_path_factory):
    "The page's folder and address, by the command in a process of its own"
    out = tmp_path_factory.mktemp('served')/'page'
    code = 'import sys; from gpfq_nb.exporting import gpfq_try; sys.exit(gpfq_try.run(sys.argv[1:], last=True))'
    line = [*map(str, files),'--out',str(out),'--runtime',str(runtime),'--images',str(IMAGES),'--serve']
    with subprocess.Popen([sys.executable,'-c',code,*line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        try:
            folder,address = p.stdout.readline().strip(),p.stdout.readline().split()
            assert folder==str(out) and address, p.stderr.read()
            yield out,address[0]
            p.send_signal(signal.SIGINT)
            _,said = p.communicate(timeout=20)
        finally: p.kill()
    assert (p.returncode, said)==(0, '')

ANSWERED = 'body[data-state=answered]'

def opened(browser, address):
    "A window with the page, the first image answered, and all that it said or asked anybody else for"
    page,heard = browser.new_page(),[]
    for event in ('console','pageerror'): page.on(event, lambda m: heard.append(str(getattr(m, 'text', m))))
    page.on('request', lambda r: None if r.url.startswith((address,'data:')) else heard.append(r.url))
    page.on('response', lambda r: None if r.status==200 else heard.append(f'{r.status} {r.url}'))
    page.goto(address)
    page.wait_for_selector(ANSWERED)
    return page,heard

@pytest.fixture(scope='module')
def window(chromium, served): return opened(chromium, served[1])

@pytest.fixture
def page(window):
    "The page, which says nothing on the console, and asks nobody but its server, whatever is done with it"
    yield window[0]
    assert window[1]==[]

def cards(page):
    "What each network's card says: the class, and the probabilities of all classes"
    read = "cards => cards.map(c => [c.dataset.answer, [...c.querySelectorAll('tr')].map(r => [r.dataset.class, r.dataset.probability])])"
    tops,rows = zip(*page.eval_on_selector_all('.card', read))
    assert all([int(c) for c,_ in r]==list(range(10)) for r in rows)
    return [int(t) for t in tops],np.array([[float(p) for _,p in r] for r in rows])

def check_answers(page, wanted):
    "Hold the cards to (networks, classes) probabilities"
    page.wait_for_selector(ANSWERED)
    tops,probabilities = cards(page)
    assert tops==wanted.argmax(-1).tolist() and np.abs(probabilities - wanted).max() < 1e-3

def pick(page, i): page.locator('#images label').nth(i).click()

def draw(page, points):
    "A stroke with the mouse, through points between 0 and 1"
    r = page.locator('#stage').bounding_box()
    at = [(r['x'] + x*r['width'], r['y'] + y*r['height']) for x,y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for p in at[1:]: page.mouse.move(*p, steps=3)
    page.mouse.up()

def seen(page):
    "(1, 1, 8, 8): the pixels that the page says the networks see"
    data = page.evaluate("""() => {
        const c = new OffscreenCanvas(8, 8).getContext('2d', {willReadFrequently: true});
        c.drawImage(document.getElementById('seen'), 0, 0);
        return [...c.getImageData(0, 0, 8, 8).data];
    }""")
    return torch.tensor(data[::4], dtype=torch.uint8).view(1, 1, 8, 8)

# -- what it does

def test_images_are_answered_as_by_onnxruntime(page, oracle, shown, digits):
    wanted = oracle(shown.x)
    check_answers(page, wanted[:,0])
    for i in (1, 7, IMAGES-1):
        pick(page, i)
        check_answers(page, wanted[:,i])
        assert torch.equal(seen(page)[0], shown.x[i])
        assert page.inner_text('#label')==digits.classes[shown.y[i]]
        assert page.locator('.card .right').count()==(wanted[:,i].argmax(-1)==shown.y[i].item()).sum()

def test_it_says_whether_they_agree(page, oracle, shown):
    tops = oracle(shown.x).argmax(-1)
    differ = (tops != tops[0]).any(0)
    for i in (differ.argmax(), differ.argmin()):
        pick(page, int(i))
        page.wait_for_selector(ANSWERED)
        assert page.inner_text('#verdict').startswith('They differ' if differ[i] else f'All 3 answer {tops[0,i]}')
    assert differ.any() and not differ.all()

def test_sizes_are_those_of_the_files(page, files):
    said = [c.inner_text() for c in page.query_selector_all('.card')]
    for text,f in zip(said, files, strict=True): assert text.startswith(f.stem) and f'{f.stat().st_size/1e3:.1f} kB' in text

def test_all_images_are_counted(page, oracle, shown):
    tops = oracle(shown.x).argmax(-1)
    page.click('#all')
    page.wait_for_selector(f'text=/of {IMAGES}\\.$/')
    for card,right in zip(page.query_selector_all('.card'), (tops==shown.y.numpy()).sum(1)): assert f'{right}/{IMAGES} right' in card.inner_text()
    assert page.locator('#images .differ').count()==(tops != tops[0]).any(0).sum()

def test_a_drawing_is_answered(page, oracle):
    pick(page, 0)
    page.wait_for_selector(ANSWERED)
    before = cards(page)[1]
    two = (.3, .3), (.5, .2), (.7, .3), (.4, .8), (.75, .8)
    draw(page, two)
    check_answers(page, oracle(seen(page))[:,0])
    assert page.inner_text('#label')=='–' and page.locator('#images :checked').count()==0
    assert np.abs(cards(page)[1] - before).max() > .01
    small = seen(page)
    page.click('#clear')
    assert not seen(page).any() and 'Draw on the square' in page.inner_text('#verdict')
    draw(page, [(.15+.5*x, .5*y) for x,y in two])           # smaller, elsewhere: brought to the same
    page.wait_for_selector(ANSWERED)
    assert (seen(page).int() - small.int()).abs().max() < 60

def test_it_works_by_keyboard(page, oracle, shown):
    wanted = oracle(shown.x[:2])
    pick(page, 0)
    page.locator('#images input').first.focus()
    page.keyboard.press('ArrowRight')
    check_answers(page, wanted[:,1])
    page.locator('#stage').focus()
    for key in ('ArrowUp',)*5 + (' ',) + ('ArrowDown',)*10 + (' ',): page.keyboard.press(key)
    page.wait_for_selector(ANSWERED)
    bar = seen(page)
    assert (bar[...,3:5] > 100).all() and not bar[...,[0,7]].any()
    check_answers(page, oracle(bar)[:,0])
    page.keyboard.press('Backspace')
    assert not seen(page).any()

@pytest.mark.parametrize('width,scheme', [(390,'dark'), (1280,'light')])
def test_nothing_is_wider_than_the_window(page, width, scheme):
    page.set_viewport_size(dict(width=width, height=800))
    page.emulate_media(color_scheme=scheme)
    pick(page, 2)
    page.wait_for_selector(ANSWERED)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert all(c.bounding_box()['width'] > 100 for c in page.query_selector_all('.card'))

def test_a_network_that_cannot_be_loaded_is_named(chromium, served, tmp_path):
    shutil.copytree(served[0], tmp_path/'page')
    (tmp_path/'page'/'models'/'2.onnx').write_bytes(b'no network')
    with page_server(tmp_path/'page') as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page,_ = opened(chromium, f'http://127.0.0.1:{server.server_port}/')
        server.shutdown()
    assert 'cannot be used' in page.query_selector_all('.card')[1].inner_text() and 'Both answer' in page.inner_text('#verdict')
