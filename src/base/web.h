/* base/web.h - the files of web/, built into the program; no NUL behind them. */
#ifndef BASE_WEB_H
#define BASE_WEB_H

#include <stddef.h>

extern const unsigned char web_style_css[];
extern const size_t web_style_css_bytes;
extern const unsigned char web_charts_js[];
extern const size_t web_charts_js_bytes;
extern const unsigned char web_live_html[];
extern const size_t web_live_html_bytes;
extern const unsigned char web_live_css[];
extern const size_t web_live_css_bytes;
extern const unsigned char web_live_js[];
extern const size_t web_live_js_bytes;
extern const unsigned char web_feed_js[];
extern const size_t web_feed_js_bytes;
extern const unsigned char web_view_js[];
extern const size_t web_view_js_bytes;
extern const unsigned char web_report_js[];
extern const size_t web_report_js_bytes;
extern const unsigned char web_report_html[];
extern const size_t web_report_html_bytes;

#endif
