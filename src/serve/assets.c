#include "serve/assets.h"

#include "base/status.h"
#include "base/web.h"

const struct asset assets[] = {
    {"/", "text/html; charset=utf-8", web_live_html, &web_live_html_bytes},
    {"/style.css", "text/css; charset=utf-8", web_style_css, &web_style_css_bytes},
    {"/live.css", "text/css; charset=utf-8", web_live_css, &web_live_css_bytes},
    {"/charts.js", "text/javascript; charset=utf-8", web_charts_js, &web_charts_js_bytes},
    {"/view.js", "text/javascript; charset=utf-8", web_view_js, &web_view_js_bytes},
    {"/feed.js", "text/javascript; charset=utf-8", web_feed_js, &web_feed_js_bytes},
    {"/live.js", "text/javascript; charset=utf-8", web_live_js, &web_live_js_bytes},
};
const size_t assets_count = ARRAY_COUNT(assets);
