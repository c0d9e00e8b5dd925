# pip install scrapy
# scrapy runspider THIS-FILE -a url=URL
import scrapy

PROXY = "<<URL>>"


class Spider(scrapy.Spider):
    name = "through-the-proxy"
    # Else user names and passwords are ISO 8859-1.
    custom_settings = {"HTTPPROXY_AUTH_ENCODING": "utf-8"}

    async def start(self):
        for request in self.start_requests():
            yield request

    # Before Scrapy 2.13 this is what is called.
    def start_requests(self):
        yield scrapy.Request(self.url, meta={"proxy": PROXY})

    def parse(self, response):
        print(response.text)
        # For each request that follows: yield response.follow(..., meta={"proxy": PROXY})
