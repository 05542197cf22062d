"The site as `make test` has built it: in headless Chromium it says nothing on the console, and asks nobody else."
import functools, http.server, re, threading
import pytest
from conftest import root

site = root/'_site'
pages = sorted(site.glob('**/*.html')) if site.exists() else []
SEEN = 'index.html', 'guides/photographs.html', 'guides/options.html', '07_solvers.html', 'studies/learning_rate.html', \
    'pages/cifar10-resnet18-seeds/page.html'

pytestmark = pytest.mark.skipif(not pages, reason='no site: python tools/docs.py site builds it')

def test_no_page_loads_anything_from_elsewhere():
    "A link that a reader follows may lead anywhere; what a page loads by itself may not"
    loads = r'<(?:script|img|iframe|source)\b[^>]*?\bsrc="(?:https?:)?//[^"]*"|<link\b(?![^>]*rel="(?:canonical|prev|next)")[^>]*?\bhref="(?:https?:)?//[^"]*"'
    found = {p.relative_to(site).as_posix(): m[0] for p in pages if (m := re.search(loads, p.read_text(encoding='utf-8')))}
    assert not found

def test_sections_are_in_the_sidebar_in_their_order():
    captions = re.findall(r'<span class="caption-text">([^<]*)</span>', (site/'index.html').read_text(encoding='utf-8'))
    kinds = [c.partition(':')[0] for c in dict.fromkeys(captions)]
    assert list(dict.fromkeys(kinds))==['Tutorials', 'How-to', 'The book', 'Findings', 'Reference']

@pytest.fixture(scope='module')
def address():
    "The site, served to this machine"
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()

@pytest.mark.parametrize('name', SEEN)
def test_a_page_is_quiet_and_keeps_to_itself(chromium, address, name):
    page,heard = chromium.new_page(),[]
    for event in ('console', 'pageerror'): page.on(event, lambda m: heard.append(str(getattr(m, 'text', m))))
    page.on('request', lambda r: None if r.url.startswith((address, 'data:', 'blob:')) else heard.append(r.url))
    page.on('response', lambda r: None if r.status in (200, 304) else heard.append(f'{r.status} {r.url}'))
    page.goto(address + name, wait_until='networkidle')
    assert page.locator('h1').count()>=1 and heard==[]
    page.close()
