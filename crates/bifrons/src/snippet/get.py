# pip install requests             (with SOCKS: pip install 'requests[socks]')
# python3 THIS-FILE URL...
import sys

import requests

PROXY = "<<URL>>"
# Given with each request: what a Session has is overruled by HTTP_PROXY and NO_PROXY.
PROXIES = {"http": PROXY, "https": PROXY}

for url in sys.argv[1:]:
    response = requests.get(url, proxies=PROXIES, timeout=60)
    response.raise_for_status()
    sys.stdout.write(response.text)
