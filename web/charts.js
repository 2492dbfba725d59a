/* charts.js - charts as inline SVG, for the report and the live page.
 *
 *   const chart = tokmark.chart(element, data);   // draws into the element
 *   chart.update(data);                           // draws anew; hidden series stay hidden
 *
 * data = {
 *   title: "train: tokens/s",
 *   caption: "how to read it",                    // optional
 *   kind: "lines" | "points" | "bars",            // default "lines"
 *   x: {title, unit, scale},                      // scale: "linear" (default) or "log"
 *   y: {title, unit, scale},                      // linear begins at 0 unless `floats` is true
 *   series: [{name, style, points: [{x, y, low, high, label, note, failed, href}]}],
 *   table: false                                  // optional: no table under the chart
 * }
 *
 * `low` and `high` are y's interval, if there is one. `label` says what x is in words. `note` is
 * said when the point is looked at. A point with `failed: "oom"` has no y: it is a cross and that
 * word. `style` (0 to 7) is the series' colour, dash and marker, its number by default. "points" are
 * not joined, but for those with `front: true`. "bars" are rows of stacked parts: a point's x is the
 * row's name, its y the part's length.
 *
 * Every chart can be read with the keyboard (arrow keys, Home, End), names its point in a line of
 * text under it, and has a table. More points than pixels are thinned to each column's lowest and
 * highest, and that is said. Data only ever becomes text; there are no inline styles or handlers, so
 * a strict Content-Security-Policy can stand. Nothing is loaded.
 *
 * Also here, for pages: tokmark.make(tag, attributes, ...children), tokmark.number(value),
 * tokmark.table(columns, rows).
 */
"use strict";
var tokmark = (function () {
    const SVG = "http://www.w3.org/2000/svg";
    const STYLES = 8;
    const POINTS_WITH_MARKERS = 60;
    const TABLE_ROWS = 1000;
    const GAP = 8;

    /* --- elements --- */

    function fill(element, attributes, children) {
        for (const [name, value] of Object.entries(attributes || {})) {
            if (value === undefined || value === null || value === false) continue;
            element.setAttribute(name, value === true ? "" : String(value));
        }
        for (const child of children)
            if (child !== undefined && child !== null)
                element.append(child instanceof Node ? child : String(child));
        return element;
    }

    function make(tag, attributes, ...children) {
        return fill(document.createElement(tag), attributes, children);
    }

    function draw(tag, attributes, ...children) {
        return fill(document.createElementNS(SVG, tag), attributes, children);
    }

    /* Links in data: a path beside the page, or a web page. Nothing that could be a script. */
    function link(href, text) {
        const isSafe = /^https?:\/\//.test(href) || !/^[^/?#]*:/.test(href);
        return isSafe ? make("a", {href}, text) : make("span", {}, text);
    }

    /* --- numbers --- */

    function number(value) {
        if (value === undefined || value === null || !Number.isFinite(value)) return "-";
        const size = Math.abs(value);
        if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(2);
        const digits = size >= 1000 || size === 0 ? 0 : Math.max(0, 3 - Math.floor(Math.log10(size)));
        return value.toLocaleString("en-US", {
            maximumFractionDigits: Number.isInteger(value) ? 0 : Math.min(digits, 8),
        });
    }

    /* For ticks: short. */
    function short(value) {
        const size = Math.abs(value);
        for (const [unit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]])
            if (size >= unit) {
                const scaled = value / (unit === 1e4 ? 1e3 : unit);
                return `${Number(scaled.toPrecision(4))}${letter}`;
            }
        return number(value);
    }

    function withUnit(text, axis) {
        return axis.unit ? `${text} ${axis.unit}` : text;
    }

    function said(point, axis) {
        if (point.failed) return point.failed;
        let text = withUnit(number(point.y), axis);
        if (isNumber(point.low) && isNumber(point.high))
            text += ` (${number(point.low)} to ${number(point.high)})`;
        return text;
    }

    function isNumber(value) {
        return typeof value === "number" && Number.isFinite(value);
    }

    /* --- scales --- */

    function extent(values) {
        let low = Infinity, high = -Infinity;
        for (const value of values) {
            if (value < low) low = value;
            if (value > high) high = value;
        }
        return low <= high ? [low, high] : [0, 1];
    }

    function niceStep(span, count) {
        const raw = span / Math.max(1, count);
        const power = 10 ** Math.floor(Math.log10(raw));
        return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= raw * 0.999);
    }

    function linearTicks(low, high, count) {
        const step = niceStep(high - low, count);
        const ticks = [];
        for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++)
            ticks.push(Number((i * step).toPrecision(12)));
        return ticks;
    }

    function logTicks(low, high, count) {
        const ticks = [];
        const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
        const per = last - first > count ? [1] : last - first > count / 2.5 ? [1, 3] : [1, 2, 5];
        for (let power = first; power <= last; power++)
            for (const n of per) {
                const tick = Number((n * 10 ** power).toPrecision(12));
                if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
            }
        return ticks.length >= 2 ? ticks : linearTicks(low, high, count);
    }

    /* {at(value), ticks}. The values' own places are the ticks where they are few: 128, 512, 1024. */
    function makeScale(axis, values, from, to, options) {
        let [low, high] = extent(values);
        const isLog = axis.scale === "log" && low > 0;
        const count = Math.max(2, Math.floor(Math.abs(to - from) / options.pixelsPerTick));
        const own = [...new Set(values)].sort((a, b) => a - b);
        if (isLog) {
            const pad = high > low ? (high / low) ** 0.05 : 1.5;
            low /= pad;
            high *= pad;
        } else {
            if (options.fromZero && low > 0) low = 0;
            if (low === high) high = low + (Math.abs(low) || 1);
            const pad = (high - low) * 0.05;
            if (!(options.fromZero && low === 0)) low -= pad;
            high += pad;
        }
        const turn = isLog ? Math.log : (value) => value;
        const span = turn(high) - turn(low);
        const at = (value) => from + ((turn(value) - turn(low)) / span) * (to - from);
        const ticks = options.ownTicks && own.length <= Math.max(count, 8) ? own
            : isLog ? logTicks(low, high, count) : linearTicks(low, high, count);
        return {at, ticks, low, high};
    }

    /* --- marks --- */

    const MARKERS = [
        "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", // circle
        "M-4,-4h8v8h-8z", // square
        "M0,-5L5,4L-5,4z", // triangle
        "M0,-5.5L5.5,0L0,5.5L-5.5,0z", // diamond
        "M0,5L5,-4L-5,-4z", // triangle, point down
        "M-2,-5h4v3h3v4h-3v3h-4v-3h-3v-4h3z", // plus
        "M-5,0L-2.5,-4.5L2.5,-4.5L5,0L2.5,4.5L-2.5,4.5z", // hexagon
        "M0,-6L1.7,-1.9L6,-1.9L2.6,0.9L3.8,5L0,2.5L-3.8,5L-2.6,0.9L-6,-1.9L-1.7,-1.9z", // star
    ];

    function marker(style, x, y) {
        return draw("path", {
            class: style % 2 ? "marker solid" : "marker", d: MARKERS[style], transform: `translate(${x},${y})`,
        });
    }

    function styleOf(series, index) {
        return (isNumber(series.style) ? series.style : index) % STYLES;
    }

    /* Lines across a bar, so that parts differ without colour. */
    function hatch(style, x, y, width, height) {
        if (style === 0 || width < 6) return null;
        let d = "";
        const step = 5 + (style % 3) * 2;
        for (let at = x + step; at < x + width - 1; at += step) {
            if (style % 4 === 1) d += `M${at},${y}v${height}`;
            else if (style % 4 === 2) d += `M${Math.min(at + 3, x + width)},${y}L${Math.max(at - 3, x)},${y + height}`;
            else if (style % 4 === 3) d += `M${Math.max(at - 3, x)},${y}L${Math.min(at + 3, x + width)},${y + height}`;
            else d += `M${at},${y + height / 2}h2`;
        }
        return draw("path", {class: "hatch", d});
    }

    /* More points than can be told apart: of each column of pixels the lowest and the highest. */
    function thin(points, columns) {
        if (points.length <= 2 * columns) return points;
        const kept = [];
        const size = points.length / columns;
        for (let c = 0; c < columns; c++) {
            let low = null, high = null;
            for (let i = Math.floor(c * size); i < Math.floor((c + 1) * size); i++) {
                if (!isNumber(points[i].y)) continue;
                if (low === null || points[i].y < points[low].y) low = i;
                if (high === null || points[i].y > points[high].y) high = i;
            }
            if (low === null) continue;
            kept.push(points[Math.min(low, high)]);
            if (low !== high) kept.push(points[Math.max(low, high)]);
        }
        return kept;
    }

    /* --- tables --- */

    /* columns: [{title, unit, isNumber}]; rows: lists of text, nodes, or null. */
    function table(columns, rows, caption) {
        const head = make("tr");
        for (const column of columns)
            head.append(make("th", {scope: "col", class: column.isNumber ? "number" : null}, column.title,
                column.unit ? make("span", {class: "unit"}, column.unit) : null));
        const body = make("tbody");
        for (const row of rows) {
            const line = make("tr");
            row.forEach((value, i) => {
                const isNode = value instanceof Node;
                line.append(make(i === 0 ? "th" : "td", {
                    scope: i === 0 ? "row" : null, class: columns[i].isNumber ? "number" : null,
                }, isNode || value !== null ? value : "-"));
            });
            body.append(line);
        }
        return make("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": caption || "table"},
            make("table", {}, caption ? make("caption", {}, caption) : null, make("thead", {}, head), body));
    }

    function chartTable(data) {
        const all = data.series.flatMap((series) => series.points.map((point) => ({series, point})));
        const every = Math.ceil(all.length / TABLE_ROWS);
        const points = all.filter((_, i) => i % every === 0);
        const has = (name) => points.some(({point}) => point[name] !== undefined && point[name] !== null);
        const unit = data.y.unit;
        const columns = [
            {title: "series"}, {title: data.x.title || "x", unit: data.x.unit, isNumber: data.kind !== "bars"},
            {title: data.y.title || "y", unit, isNumber: true},
        ];
        if (has("low")) columns.push({title: "low", unit, isNumber: true}, {title: "high", unit, isNumber: true});
        if (has("label") && data.kind === "points") columns.push({title: "what"});
        if (has("note")) columns.push({title: "remark"});
        if (has("href")) columns.push({title: "raw samples"});
        const rows = points.map(({series, point}) => {
            const row = [series.name, isNumber(point.x) ? number(point.x) : point.x,
                point.failed ? point.failed : number(point.y)];
            if (has("low")) row.push(number(point.low), number(point.high));
            if (has("label") && data.kind === "points") row.push(point.label || "");
            if (has("note")) row.push(point.note || "");
            if (has("href")) row.push(point.href ? link(point.href, "samples") : "");
            return row;
        });
        return table(columns, rows, `${data.title}: the numbers${every > 1 ? `, one in ${every} of ${number(all.length)}` : ""}`);
    }

    /* --- a chart --- */

    let chartsCount = 0;

    function Chart(element, data) {
        this.id = `chart-${++chartsCount}`;
        this.data = data;
        this.hidden = new Set();
        this.width = 0;
        this.spot = null;
        this.figure = make("figure", {class: "chart"});
        this.title = make("h3", {id: this.id});
        this.caption = make("p", {class: "caption", id: `${this.id}-caption`});
        this.svg = draw("svg", {
            class: "plot", tabindex: 0, role: "application", "aria-roledescription": "chart",
            "aria-labelledby": this.id, "aria-describedby": `${this.id}-caption ${this.id}-help`,
        });
        this.legend = make("ul", {class: "legend", "aria-label": "series"});
        this.readout = make("p", {class: "readout", "aria-live": "polite"});
        this.help = make("p", {class: "visually-hidden", id: `${this.id}-help`},
            "Arrow keys go from point to point and from series to series. The table below has the numbers.");
        this.details = make("details", {}, make("summary", {}, "Show as a table"));
        this.figure.append(this.title, this.caption, this.svg, this.legend, this.readout, this.help);
        if (data.table !== false) this.figure.append(this.details);
        element.append(this.figure);
        this.listen();
        this.update(data);
    }

    Chart.prototype.listen = function () {
        const onSize = () => {
            const width = this.svg.clientWidth;
            if (width > 0 && Math.abs(width - this.width) > 1) this.redraw();
        };
        if (typeof ResizeObserver === "function") new ResizeObserver(onSize).observe(this.figure);
        else window.addEventListener("resize", onSize);
        this.svg.addEventListener("pointermove", (event) => this.point(event));
        this.svg.addEventListener("pointerdown", (event) => this.point(event));
        this.svg.addEventListener("pointerleave", () => {
            if (document.activeElement !== this.svg) this.look(null);
        });
        this.svg.addEventListener("keydown", (event) => this.key(event));
        this.svg.addEventListener("blur", () => this.look(null));
        this.details.addEventListener("toggle", () => this.fillTable());
    };

    Chart.prototype.update = function (data) {
        this.data = data;
        this.title.textContent = data.title;
        this.redraw();
        this.fillTable();
    };

    Chart.prototype.fillTable = function () {
        const old = this.details.querySelector(".scroll");
        if (old) old.remove();
        if (this.details.open) this.details.append(chartTable(this.data));
    };

    Chart.prototype.shown = function () {
        return this.data.series
            .map((series, index) => ({series, style: styleOf(series, index), index}))
            .filter(({series}) => !this.hidden.has(series.name));
    };

    Chart.prototype.redraw = function () {
        this.width = this.svg.clientWidth || 520;
        this.marks = [];
        this.isThinned = false;
        this.svg.replaceChildren();
        if (this.data.kind === "bars") this.drawBars();
        else this.drawPlot();
        this.ring = draw("circle", {class: "here", r: 8, visibility: "hidden"});
        this.svg.append(this.ring);
        this.caption.textContent = [this.data.caption,
            this.isThinned ? "More points than pixels: each column shows its lowest and highest." : ""].filter(Boolean).join(" ");
        this.drawLegend();
        this.look(this.spot !== null && this.spot < this.marks.length ? this.spot : null);
    };

    Chart.prototype.size = function (height) {
        this.height = height;
        this.svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    };

    Chart.prototype.drawLegend = function () {
        const wanted = this.data.series.map((series, index) => [series.name, styleOf(series, index), this.hidden.has(series.name)]);
        const key = JSON.stringify([wanted, this.data.kind]);
        if (key === this.legendKey) return;
        this.legendKey = key;
        this.legend.replaceChildren();
        this.legend.hidden = wanted.length < 2;
        for (const [name, style, isHidden] of wanted) {
            const swatch = draw("svg", {width: 34, height: 14, class: `s${style}`, "aria-hidden": "true", focusable: "false"});
            if (this.data.kind === "bars")
                swatch.append(draw("rect", {class: "bar", x: 1, y: 1, width: 32, height: 12}),
                    hatch(style, 1, 1, 32, 12) || "");
            else {
                if (this.data.kind !== "points") swatch.append(draw("path", {class: `curve d${style}`, d: "M0,7h34"}));
                swatch.append(marker(style, 17, 7));
            }
            const button = make("button", {type: "button", "aria-pressed": isHidden ? "false" : "true"}, swatch, name);
            button.addEventListener("click", () => {
                if (!this.hidden.delete(name)) this.hidden.add(name);
                this.redraw();
                for (const other of this.legend.querySelectorAll("button"))
                    if (other.textContent === name) other.focus();
            });
            this.legend.append(make("li", {}, button));
        }
    };

    Chart.prototype.drawAxes = function (box, x, y) {
        const {svg, data} = this;
        for (const tick of y.ticks) {
            const at = y.at(tick);
            svg.append(draw("path", {class: "gridline", d: `M${box.left},${at}H${box.right}`}),
                draw("text", {x: box.left - GAP, y: at + 4, "text-anchor": "end"}, short(tick)));
        }
        svg.append(draw("path", {class: "axis", d: `M${box.left},${box.bottom}H${box.right}`}));
        let free = -Infinity;
        for (const tick of x.ticks) {
            const at = x.at(tick), text = short(tick), half = text.length * 3.6;
            svg.append(draw("path", {class: "axis", d: `M${at},${box.bottom}v5`}));
            if (at - half < free) continue;
            free = at + half + 6;
            svg.append(draw("text", {x: at, y: box.bottom + 19, "text-anchor": "middle"}, text));
        }
        const name = (axis) => (axis.unit && axis.unit !== axis.title ? `${axis.title}, ${axis.unit}` : axis.title) || "";
        svg.append(draw("text", {class: "faint", x: 0, y: 12}, name(data.y) + (data.y.scale === "log" ? " (log scale)" : "")),
            draw("text", {class: "faint", x: (box.left + box.right) / 2, y: box.bottom + 38, "text-anchor": "middle"}, name(data.x)));
    };

    Chart.prototype.drawPlot = function () {
        const {data, width} = this;
        const shown = this.shown();
        const points = shown.flatMap(({series}) => series.points);
        const xs = points.map((point) => point.x).filter(isNumber);
        const ys = points.flatMap((point) => [point.y, point.low, point.high]).filter(isNumber);
        const height = Math.round(Math.min(340, Math.max(230, width * 0.55)));
        this.size(height);
        if (xs.length === 0) {
            this.svg.append(draw("text", {class: "faint", x: width / 2, y: height / 2, "text-anchor": "middle"}, "nothing to show"));
            return;
        }
        const box = {top: 26, bottom: height - 46, left: 0, right: width - 16};
        const yOptions = {pixelsPerTick: 36, fromZero: !data.y.floats};
        const y = makeScale(data.y, ys, box.bottom, box.top, yOptions);
        box.left = GAP + 7.2 * Math.max(...y.ticks.map((tick) => short(tick).length), 2) + 4;
        const inset = 14;
        const x = makeScale(data.x, xs, box.left + inset, box.right - inset, {pixelsPerTick: 70, ownTicks: true});
        this.drawAxes(box, x, y);
        const failures = [];
        for (const one of shown) this.drawSeries(one, x, y, failures);
        this.drawFailures(failures, x, box);
    };

    Chart.prototype.drawSeries = function ({series, style, index}, x, y, failures) {
        const group = draw("g", {class: `s${style}`});
        const known = series.points.filter((point) => isNumber(point.x) && isNumber(point.y));
        const points = thin(known, Math.max(50, Math.floor(this.width)));
        this.isThinned = this.isThinned || points.length < known.length;
        const isSparse = points.length <= POINTS_WITH_MARKERS;
        const joined = this.data.kind === "points" ? points.filter((point) => point.front).sort((a, b) => a.x - b.x) : points;
        const place = (point, value) => `${x.at(point.x).toFixed(1)},${y.at(value).toFixed(1)}`;
        const ranged = points.filter((point) => isNumber(point.low) && isNumber(point.high));
        if (!isSparse && ranged.length > 1)
            group.append(draw("path", {
                class: "band", d: `M${ranged.map((point) => place(point, point.high)).join("L")}L${[...ranged].reverse().map((point) => place(point, point.low)).join("L")}z`,
            }));
        if (joined.length > 1)
            group.append(draw("path", {class: `curve d${style}`, d: `M${joined.map((point) => place(point, point.y)).join("L")}`}));
        for (const point of points) {
            const at = x.at(point.x);
            if (isSparse && isNumber(point.low) && isNumber(point.high)) {
                const low = y.at(point.low), high = y.at(point.high);
                group.append(draw("path", {class: "whisker", d: `M${at - 4},${high}h8M${at},${high}V${low}M${at - 4},${low}h8`}));
            }
            if (isSparse || this.data.kind === "points") group.append(marker(style, at, y.at(point.y)));
            this.marks.push({point, series, index, x: at, y: y.at(point.y)});
        }
        for (const point of series.points)
            if (point.failed && isNumber(point.x)) failures.push({point, series, index});
        this.svg.append(group);
    };

    /* What failed has no place on the scale: crosses in a row at the foot. */
    Chart.prototype.drawFailures = function (failures, x, box) {
        const words = new Map();
        for (const failure of failures) {
            const at = x.at(failure.point.x), y = box.bottom - 10;
            const said = words.get(at) || new Set();
            words.set(at, said.add(failure.point.failed));
            this.marks.push({...failure, x: at, y});
            if (said.size > 1 || said.drawn) continue;
            said.drawn = true;
            this.svg.append(draw("path", {class: "cross", d: `M${at - 5},${y - 5}l10,10m0,-10l-10,10`}));
        }
        for (const [at, said] of words)
            this.svg.append(draw("text", {
                class: "failed", x: Math.min(at, box.right - 14), y: box.bottom - 21, "text-anchor": "middle",
            }, [...said].join(", ")));
    };

    Chart.prototype.drawBars = function () {
        const {data, width} = this;
        const shown = this.shown();
        const names = [...new Set(data.series.flatMap((series) => series.points.map((point) => point.x)))];
        const total = (name) => shown.reduce((sum, {series}) => sum + series.points
            .filter((point) => point.x === name && isNumber(point.y)).reduce((all, point) => all + point.y, 0), 0);
        const rowHeight = 46;
        const foot = 42;
        this.size(names.length * rowHeight + foot);
        const bottom = names.length * rowHeight + 4;
        const x = makeScale(data.y, [0, ...names.map(total)], 2, width - 70, {pixelsPerTick: 90, fromZero: true});
        for (const tick of x.ticks)
            this.svg.append(draw("path", {class: "gridline", d: `M${x.at(tick)},0V${bottom}`}),
                draw("text", {x: x.at(tick), y: bottom + 15, "text-anchor": tick === x.ticks[0] ? "start" : "middle"}, short(tick)));
        this.svg.append(draw("text", {class: "faint", x: 0, y: bottom + 33}, withUnit(data.y.title, data.y.unit === data.y.title ? {} : {unit: `(${data.y.unit})`})));
        names.forEach((name, row) => {
            const top = row * rowHeight + 20;
            let end = 0;
            this.svg.append(draw("text", {x: 2, y: top - 5}, name));
            for (const {series, style, index} of shown)
                for (const point of series.points) {
                    if (point.x !== name || !isNumber(point.y)) continue;
                    const from = x.at(end), to = x.at(end + point.y);
                    const group = draw("g", {class: `s${style}`},
                        draw("rect", {class: "bar", x: from, y: top, width: Math.max(0.5, to - from), height: 18}),
                        hatch(style, from, top, to - from, 18));
                    this.svg.append(group);
                    this.marks.push({point, series, index, x: (from + to) / 2, y: top + 9});
                    end += point.y;
                }
            this.svg.append(draw("text", {x: x.at(end) + 5, y: top + 13}, short(end)));
        });
    };

    /* --- looking at a point --- */

    Chart.prototype.look = function (spot) {
        this.spot = spot;
        const mark = spot === null ? null : this.marks[spot];
        this.ring.setAttribute("visibility", mark ? "visible" : "hidden");
        if (!mark) {
            this.readout.textContent = "";
            return;
        }
        this.ring.setAttribute("cx", mark.x);
        this.ring.setAttribute("cy", mark.y);
        const {point, series} = mark;
        const axis = this.data.x;
        const where = point.label || (isNumber(point.x) ? `${axis.title} ${number(point.x)}` : point.x);
        this.readout.replaceChildren(make("strong", {}, series.name), `, ${where}: ${said(point, this.data.y)}`,
            point.note ? `. ${point.note}` : "");
        if (point.href) this.readout.append(" ", link(point.href, "raw samples"));
    };

    Chart.prototype.point = function (event) {
        const frame = this.svg.getBoundingClientRect();
        const x = ((event.clientX - frame.left) / frame.width) * this.width;
        const y = ((event.clientY - frame.top) / frame.height) * this.height;
        let best = null, least = Infinity;
        this.marks.forEach((mark, i) => {
            const distance = (mark.x - x) ** 2 + (mark.y - y) ** 2;
            if (distance < least) {
                least = distance;
                best = i;
            }
        });
        if (best !== null) this.look(best);
    };

    /* The mark beside this one: the next of its series, or the nearest of the next series. */
    Chart.prototype.next = function (step, isAcross) {
        const {marks} = this;
        const now = marks[this.spot === null ? 0 : this.spot];
        if (this.spot === null) return 0;
        if (!isAcross) {
            const own = marks.map((mark, i) => ({mark, i})).filter(({mark}) => mark.index === now.index)
                .sort((a, b) => a.mark.x - b.mark.x || a.i - b.i);
            const at = own.findIndex(({i}) => i === this.spot);
            return own[Math.min(own.length - 1, Math.max(0, at + step))].i;
        }
        const all = [...new Set(marks.map((mark) => mark.index))].sort((a, b) => a - b);
        const other = all[(all.indexOf(now.index) + step + all.length) % all.length];
        let best = this.spot, least = Infinity;
        marks.forEach((mark, i) => {
            const distance = Math.abs(mark.x - now.x);
            if (mark.index === other && distance < least) {
                least = distance;
                best = i;
            }
        });
        return best;
    };

    Chart.prototype.key = function (event) {
        if (this.marks.length === 0 || event.ctrlKey || event.altKey || event.metaKey) return;
        const steps = {ArrowRight: [1, false], ArrowLeft: [-1, false], ArrowDown: [1, true], ArrowUp: [-1, true],
            Home: [-Infinity, false], End: [Infinity, false]};
        const step = steps[event.key];
        if (event.key === "Escape") this.look(null);
        if (!step) return;
        event.preventDefault();
        this.look(this.next(...step));
    };

    return {
        chart: (element, data) => new Chart(element, data),
        make, draw, link, number, table,
    };
})();
