/* live.js - the live page: draws what the view (view.js) shows of the records and the run that the
 * server tells of (feed.js). Data only ever becomes text. */
"use strict";
(function () {
    const V = tokmarkView;
    const F = tokmarkFeed;
    const {get, getter, column, nameOf} = F;
    const {make, draw, number} = tokmark;
    const MATRIX_COLUMNS_MAX = 24, MATRIX_CELLS_MAX = 1500, LIST_ROWS = 200;
    const DRAW_EVERY_MS = 40, DRAW_NOW_EVERY_MS = 250, SAY_EVERY_MS = 3000;
    const PHASES = {
        start: "starting the worker", open: "opening the model", warmup: "warming up", measure: "measuring",
        wait: "waiting for others to leave the CPUs", check: "checking", close: "closing",
    };
    const SIGNS = {ok: ["✓", "good"], unsteady: ["≈", "warn"], "": ["·", "plain"]};
    const GROUP = ["framework", "model", "device", "mode", "precision"];
    const CELL = ["seq_len", "batch_size"];
    const KEYS = {
        e: "engine", p: "precision", s: "seq", b: "batch",
    };
    const HELP = [
        ["e", "next engine (Shift: the one before; so for the next three)"], ["p", "next precision"],
        ["s", "next sequence length"], ["b", "next batch size"], ["m", "next metric (Shift: before)"],
        ["0", "all filters off, no baseline"], ["/", "to the filter field"],
        ["c", "pin the cell that has the focus, else the newest, as the baseline; again: no baseline"],
        ["space", "pause, and go on"], ["t", "table or plot"], ["?", "this help"], ["Esc", "leave a field or a window"],
    ];

    const by = (id) => document.getElementById(id);
    const element = new Proxy({}, {get: (_, id) => by(String(id).replace(/[A-Z]/g, (c) => "-" + c.toLowerCase()))});

    let view = V.read(location.search);
    let isPaused = false, recordsAtPause = 0;
    let chart = null, matrix = {key: "", cells: new Map()};
    let toSay = "", saidAt = 0;

    function label(get_) {
        return [get_("framework"), get_("model"), get_("mode"), get_("precision"), `seq ${get_("seq_len")}`,
            `batch ${get_("batch_size")}`].filter(Boolean).join(" ");
    }

    function value(row, metric) {
        const found = get(row, metric || view.metric);
        return typeof found === "number" ? found : null;
    }

    function interval(row) {
        const fields = V.METRICS[view.metric];
        if (!fields) return null;
        const [low, high] = fields.map((field) => value(row, field));
        return low !== null && high !== null ? [low, high] : null;
    }

    /* --- texts --- */

    function duration(ms) {
        const s = Math.max(0, Math.round(ms / 1000));
        if (s < 90) return `${s} s`;
        if (s < 5400) return `${Math.round(s / 60)} min`;
        return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
    }

    /* For where there is little room: four digits, so that they stand below each other. */
    function brief(found) {
        if (typeof found !== "number" || !Number.isFinite(found)) return number(found);
        const size = Math.abs(found);
        if (size < 1e8) return size >= 1e-4 && size < 999.95 ? found.toPrecision(4) : number(found);
        const [unit, letter] = size >= 1e12 ? [1e12, "T"] : size >= 1e9 ? [1e9, "G"] : [1e6, "M"];
        return `${(found / unit).toPrecision(4)} ${letter}`;
    }

    function valueText(row) {
        const found = value(row);
        return found === null ? "-" : `${number(found)} ${column(view.metric).unit || ""}`.trim();
    }

    function plusMinus(row) {
        const ends = interval(row), middle = value(row);
        if (!ends || !middle) return "";
        return `±${((100 * (ends[1] - ends[0])) / 2 / Math.abs(middle)).toFixed(1)} %`;
    }

    function verdictNode(verdict, warnings) {
        const [sign, kind] = Object.hasOwn(SIGNS, verdict) ? SIGNS[verdict] : ["✕", "bad"];
        const count = warnings ? warnings.split(" ").length : 0;
        return make("span", {class: `verdict ${kind}`}, `${sign} ${verdict || "published"}`,
            count ? make("span", {class: "faint", title: warnings}, ` ⚠${count}`) : null);
    }

    /* Against the baseline: a sign, a factor and a word. */
    function change(row, base) {
        const [mine, its] = [value(row), value(base)];
        if (mine === null || its === null || !its || !mine) return "";
        const better = column(view.metric).better;
        const ratio = mine / its;
        const factor = `${(ratio >= 1 ? ratio : 1 / ratio).toFixed(2)}×`;
        const [a, b] = [interval(row), interval(base)];
        if (a && b && a[0] <= b[1] && b[0] <= a[1]) return `≈ ${ratio.toFixed(2)}× as baseline`;
        const word = ratio >= 1 ? "more" : "less";
        if (better !== "higher" && better !== "lower") return `${factor} ${word}`;
        const isBetter = (better === "higher") === (ratio >= 1);
        return `${isBetter ? "▲" : "▼"} ${factor} ${isBetter ? "better" : "worse"}`;
    }

    const baseline = () => (view.baseline !== null && F.byId.get(view.baseline)) || null;

    /* --- drawing: the state --- */

    /* What stays the same must cost nothing: ages are looked at every second. */
    function setText(node, text) {
        if (node.textContent !== text) node.textContent = text;
    }

    function pill(node, kind, text) {
        if (node.className !== `pill ${kind}`) node.className = `pill ${kind}`;
        setText(node, text);
        node.hidden = !text;
    }

    function drawStatus() {
        const {state, run} = F;
        const age = F.now() - state.written_ms;
        const isStale = F.isStale();
        setText(element.folder, F.folder);
        document.title = F.folder ? `${F.folder} · tokmark live` : "tokmark live";
        if (!F.isLinked) pill(element.link, "bad", "no connection");
        else if (isPaused) pill(element.link, "warn", `paused, ${state.records - recordsAtPause} new`);
        else if (state.there && !state.at_end) pill(element.link, "warn", `reading ${Math.round((100 * state.read_bytes) / Math.max(1, state.file_bytes))} %`);
        else pill(element.link, "good", "live");
        if (!state.written_ms || state.records === 0) pill(element.age, "warn", isStale && run ? "STALE: no record" : "");
        else if (run && run.isEnded) pill(element.age, "good", `finished, newest record ${duration(age)} ago`);
        else pill(element.age, isStale ? "warn" : "good", `${isStale ? "STALE: " : ""}newest record ${duration(age)} ago`);
        setText(element.counts, `${number(state.records)} records, ${number(state.cells)} cells` +
            (state.known ? `, ${number(state.known)} repeated` : ""));
        pill(element.bad, "bad", state.bad ? `${number(state.bad)} bad line${state.bad === 1 ? "" : "s"}` : "");
        element.bad.title = state.note || "";
        const note = !state.there && F.isLinked ? state.note || "waiting for the first record" : state.bad ? `Last bad line: ${state.note}` : state.note;
        setText(element.note, note || "");
        element.note.hidden = !note;
    }

    /* --- drawing: now --- */

    function setFacts(list, facts) {
        list.replaceChildren(...facts.filter(([, text]) => text).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
    }

    function drawSteps(values, low, middle, high) {
        const svg = element.nowSteps;
        svg.replaceChildren();
        if (values.length < 2) {
            svg.setAttribute("aria-label", "step times: too few yet");
            return;
        }
        const sorted = [...values].sort((a, b) => a - b);
        let bottom = sorted[0], top = sorted[Math.floor((sorted.length - 1) * 0.98)]; // one stall must not flatten the rest
        if (low) bottom = Math.min(bottom, low);
        if (high) top = Math.max(top, high);
        if (bottom === top) top = bottom + (Math.abs(bottom) || 1) * 0.1;
        const y = (ms) => Math.max(0, Math.min(56, 52 - ((ms - bottom) / (top - bottom)) * 48));
        const x = (i) => (300 * i) / (values.length - 1);
        if (low && high) svg.append(draw("rect", {class: "band", x: 0, width: 300, y: y(high), height: Math.max(1, y(low) - y(high))}));
        if (middle) svg.append(draw("line", {class: "median", x1: 0, x2: 300, y1: y(middle), y2: y(middle)}));
        svg.append(draw("polyline", {class: "line", points: values.map((ms, i) => `${x(i).toFixed(1)},${y(ms).toFixed(1)}`).join(" ")}));
        svg.setAttribute("aria-label", `step times of the last ${values.length} blocks: ${number(sorted[0])} to ${number(sorted[sorted.length - 1])} ms`);
    }

    function drawSweep() {
        const {run} = F;
        const isKnown = run !== null && run.current !== null && run.total > 0;
        element.nowProgress.hidden = !isKnown;
        if (!isKnown) return "";
        const {position} = run.current;
        const done = position - run.first.position;
        const per = done > 0 ? (run.seen_ms - run.first.time_ms) / done : 0;
        const left = per && F.isAlive() ? `, about ${duration(per * (run.total - position))} left` : "";
        element.nowProgress.max = run.total;
        element.nowProgress.value = position;
        return `cell ${position + 1} of ${run.total}${left}`;
    }

    /* As a record's fields; null with a reason where the machine cannot tell. */
    function gauge(telemetry, field, unit) {
        const found = telemetry ? telemetry[field] : undefined;
        const reason = telemetry && telemetry.null_reasons ? telemetry.null_reasons[field] : undefined;
        if (typeof found === "number") return `${number(found)} ${unit}`;
        return reason ? `n/a (${reason.replaceAll("_", " ")})` : "";
    }

    function drawCurrent() {
        const {run} = F;
        const {current} = run;
        const {telemetry} = current;
        const {machine} = run; // not of the cell: what was said last holds
        const cell = run.cells.get(current.id);
        const last = current.blocks[current.blocks.length - 1];
        const [low, middle, high] = last ? [last.ms_p50_low, last.ms_p50, last.ms_p50_high] : [];
        const state = current.isCanary ? "measuring the canary cell again" : PHASES[current.phase] || current.phase;
        setText(element.nowState, F.isAlive() ? `now: ${state}` : `cut off: ${run.isGone ? "the run was killed" : "the run is silent"}`);
        setText(element.nowLabel, cell ? label((field) => cell[field]) : "a cell");
        setText(element.nowSweep, drawSweep());
        setText(element.nowValue, last ? brief(middle ?? last.ms_per_step) : "…");
        setText(element.nowUnit, middle ? "ms, median step" : last ? "ms per step" : "");
        setText(element.nowInterval, low && high ? `95 % interval ${brief(low)} to ${brief(high)} ms, ±${((50 * (high - low)) / middle).toFixed(1)} %`
            : current.phase === "measure" ? "no interval yet" : "");
        drawSteps(current.blocks.map((block) => block.ms_per_step), low, middle, high);
        setFacts(element.nowFacts, [
            ["trial", run.trials > 1 ? `${current.trial + 1} of ${run.trials}` : ""],
            ["samples", last && last.samples ? number(last.samples) : ""],
            ["set aside", last && last.set_aside_steps ? `${number(last.set_aside_steps)} step${last.set_aside_steps === 1 ? "" : "s"}` : ""],
            ["cell left", last && last.remaining_ms >= 1000 ? `about ${duration(last.remaining_ms)}` : ""],
            ["loss", last && typeof last.loss === "number" ? number(last.loss) : ""],
            ["memory", gauge(telemetry, "rss_mb", "MiB")],
            ["clock", gauge(machine, "gpu_sm_mhz", "MHz") || gauge(machine, "cpu_mhz", "MHz")],
            ["power", gauge(machine, "power_w", "W")],
            ["heat", gauge(machine, "gpu_temperature_c", "°C")],
            ["card", gauge(machine, "gpu_used_mb", "MiB")],
        ]);
    }

    function drawNewest(row) {
        const ends = interval(row);
        drawSweep();
        element.nowState.replaceChildren("newest record: ", verdictNode(get(row, "verdict"), get(row, "warnings")));
        element.nowLabel.textContent = label(getter(row));
        element.nowSweep.textContent = get(row, "started_at") ? `started ${get(row, "started_at").replace("T", " ").slice(0, 19)} UTC` : "";
        element.nowValue.textContent = brief(value(row));
        element.nowUnit.textContent = column(view.metric).unit || view.metric;
        element.nowInterval.textContent = ends ? `95 % interval ${number(ends[0])} to ${number(ends[1])} (${plusMinus(row)})` : "";
        element.nowSteps.replaceChildren();
        setFacts(element.nowFacts, [
            ["median step", value(row, "ms_p50") !== null ? `${number(value(row, "ms_p50"))} ms` : ""],
            ["mean step", value(row, "ms_per_step") !== null ? `${number(value(row, "ms_per_step"))} ms` : ""],
            ["peak memory", value(row, "peak_mem_mb") !== null ? `${number(value(row, "peak_mem_mb"))} MiB` : ""],
            ["loss", value(row, "loss_last") !== null ? number(value(row, "loss_last")) : ""],
            ["steps", number(value(row, "steps"))],
        ]);
    }

    function drawNow() {
        const isLive = F.run !== null && F.run.current !== null && !view.isOnly;
        const row = isLive ? null : F.newest(view);
        element.now.hidden = !isLive && row === null;
        element.now.classList.toggle("is-record", !isLive);
        element.now.classList.toggle("is-cut-off", isLive && !F.isAlive());
        element.nowSteps.toggleAttribute("hidden", !isLive);
        if (isLive) drawCurrent();
        else if (row !== null) drawNewest(row);
    }

    /* --- drawing: the matrix --- */

    function compare(a, b) {
        for (let i = 0; i < a.length; i++) {
            if (a[i] === b[i]) continue;
            return a[i] < b[i] ? -1 : 1;
        }
        return 0;
    }

    /* train, infer, decode: as in the terminal. */
    const MODES = ["train", "infer", "decode"];
    const inOrder = (group) => [group[0], group[1], group[2], MODES.indexOf(group[3]), group[4]];

    const unique = (lists) => [...new Map(lists.map((list) => [JSON.stringify(list), list])).values()].sort(compare);

    function flash(button) {
        button.classList.remove("is-new");
        void button.offsetWidth; // begins the animation anew
        button.classList.add("is-new");
    }

    /* At work, or cut off at it. */
    function workOf(slot) {
        const {run} = F;
        if (run === null || run.current === null || run.current.isCanary || run.current.id !== slot.id) return "";
        return F.isAlive() ? "▶ measuring" : "? cut off";
    }

    function fillCell(button, slot, base) {
        const {row} = slot;
        const work = workOf(slot);
        const end = row === null ? 0 : get(row, "end");
        const drawn = [end, slot.more, work, view.metric, base && get(base, "end")].join(" ");
        if (button.drawn === drawn) return;
        const isNew = row !== null && row.isNew && button.drawn !== undefined && button.shown !== end;
        button.drawn = drawn;
        button.shown = end;
        button.classList.toggle("is-now", work !== "");
        button.classList.toggle("is-pinned", row !== null && base === row);
        button.classList.toggle("empty", row === null);
        if (row === null) {
            button.replaceChildren(work || "waiting");
            return;
        }
        const second = base === row ? "baseline" : base ? change(row, base) : plusMinus(row);
        const content = [make("b", {}, brief(value(row))), make("small", {}, second || "\u00a0"),
            verdictNode(get(row, "verdict"), get(row, "warnings"))];
        if (work) content.push(make("small", {}, `${work} again`));
        if (slot.more) content.push(make("small", {}, `and ${slot.more} more like it`));
        button.replaceChildren(...content);
        if (isNew) flash(button);
    }

    function makeMatrix(groups, cells, found) {
        const head = make("tr", {}, make("th", {scope: "col", class: "what"}, "cell"));
        for (const [seq, batch] of cells)
            head.append(make("th", {scope: "col"}, `seq ${seq}`, make("span", {class: "unit"}, `batch ${batch}`)));
        const body = make("tbody");
        matrix.cells = new Map();
        for (const group of groups) {
            const [engine, model, device, mode, precision] = group;
            const line = make("tr", {}, make("th", {scope: "row"}, `${engine} ${mode} ${precision}`,
                make("span", {class: "faint"}, [model, device].filter(Boolean).join(", "))));
            for (const cell of cells) {
                const slot = found.get(JSON.stringify([group, cell]));
                const button = slot ? make("button", {class: "cell", type: "button"}) : null;
                if (button) {
                    button.addEventListener("click", () => showDetails(matrix.slots.get(slot.key)));
                    button.addEventListener("focus", () => { matrix.focus = slot.key; });
                    matrix.cells.set(slot.key, button);
                }
                line.append(make("td", {}, button || ""));
            }
            body.append(line);
        }
        return make("table", {class: "matrix"}, make("caption", {id: "caption"}), make("thead", {}, head), body);
    }

    function makeList(list) {
        const fields = [...GROUP, ...CELL];
        const columnsOf = [...fields.map((name) => ({title: name})), {title: view.metric, unit: column(view.metric).unit, isNumber: true},
            {title: "interval"}, {title: "verdict"}];
        const lines = list.slice(0, LIST_ROWS).map(({row}) => [...fields.map((field) => String(get(row, field) ?? "-")),
            number(value(row)), plusMinus(row), verdictNode(get(row, "verdict"), get(row, "warnings"))]);
        return tokmark.table(columnsOf, lines,
            `the newest ${number(lines.length)} of ${number(list.length)} cells: filter to see others`);
    }

    function drawMatrix({found}, base) {
        const all = [...found.values()];
        const groups = unique(all.map((slot) => slot.group)).sort((a, b) => compare(inOrder(a), inOrder(b)));
        const cells = unique(all.map((slot) => slot.cell));
        matrix.slots = found;
        if (all.length === 0) {
            matrix.key = "";
            element.matrix.replaceChildren(make("p", {class: "faint"}, F.rows.size ? "No cell is let through: 0 switches all filters off." : "No records yet: they appear here as a run writes them."));
            return;
        }
        if (cells.length > MATRIX_COLUMNS_MAX || groups.length * cells.length > MATRIX_CELLS_MAX) {
            matrix.key = "";
            const list = all.filter((slot) => slot.row).sort((a, b) => get(b.row, "end") - get(a.row, "end"));
            element.matrix.replaceChildren(makeList(list));
            return;
        }
        const key = JSON.stringify([groups, cells, all.map((slot) => slot.key)]);
        if (key !== matrix.key) {
            const focus = matrix.cells.get(matrix.focus);
            const hadFocus = focus !== undefined && document.activeElement === focus;
            element.matrix.replaceChildren(make("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "cells"}, makeMatrix(groups, cells, found)));
            matrix.key = key;
            if (hadFocus && matrix.cells.has(matrix.focus)) matrix.cells.get(matrix.focus).focus();
        }
        by("caption").textContent = `${view.metric}${column(view.metric).unit ? `, ${column(view.metric).unit}` : ""}: ` +
            (base ? "against the baseline" : V.METRICS[view.metric] ? "half width of the 95 % interval" : "one value a cell") + ", verdict";
        for (const slot of all) fillCell(matrix.cells.get(slot.key), slot, base);
    }

    /* --- drawing: the plot --- */

    function drawPlot({found}) {
        const all = [...found.values()].filter((slot) => slot.row);
        const seqs = new Set(all.map((slot) => slot.cell[0])), batches = new Set(all.map((slot) => slot.cell[1]));
        const [axis, other] = seqs.size >= batches.size ? [0, 1] : [1, 0];
        const names = ["sequence length", "batch size"], words = ["seq", "batch"];
        const series = new Map();
        for (const slot of all) {
            const [engine, model, device, mode, precision] = slot.group;
            const name = `${engine} ${mode} ${precision}, ${words[other]} ${slot.cell[other]} (${[model, device].filter(Boolean).join(", ")})`;
            if (!series.has(name)) series.set(name, []);
            const y = value(slot.row), ends = interval(slot.row), verdict = get(slot.row, "verdict");
            series.get(name).push(y === null ? {x: slot.cell[axis], failed: verdict || "no value"}
                : {x: slot.cell[axis], y, low: ends ? ends[0] : undefined, high: ends ? ends[1] : undefined, note: verdict});
        }
        const list = [...series].sort((a, b) => a[0].localeCompare(b[0], "en", {numeric: true})).slice(0, 8);
        const data = {
            title: `${view.metric} by ${names[axis]}`,
            caption: series.size > 8 ? `the first 8 of ${series.size} series: filter to see others` : column(view.metric).meaning || "",
            x: {title: names[axis], unit: axis ? "rows" : "tokens", scale: "log"},
            y: {title: view.metric, unit: column(view.metric).unit},
            series: list.map(([name, points]) => ({name, points: points.sort((a, b) => a.x - b.x)})),
        };
        const text = JSON.stringify(data);
        if (chart && chart.text === text) return;
        if (chart) chart.update(data);
        else chart = tokmark.chart(element.chart, data);
        chart.text = text;
    }

    /* --- drawing: filters --- */

    function fillSelect(select, values, chosen, allWord) {
        const list = chosen !== null && !values.includes(chosen) ? [...values, chosen] : values;
        const key = JSON.stringify(list);
        if (select.filled !== key) {
            select.replaceChildren(...(allWord ? [make("option", {value: ""}, allWord)] : []), ...list.map((each) => make("option", {value: each}, each)));
            select.filled = key;
        }
        select.value = chosen ?? "";
        select.classList.toggle("is-set", allWord !== null && chosen !== null);
    }

    function drawFilters() {
        for (const axis of Object.keys(V.AXES)) fillSelect(by(axis), V.sorted(F.axes[axis]), view[axis], "all");
        fillSelect(element.metric, Object.keys(V.METRICS), view.metric, null);
        if (document.activeElement !== element.text) element.text.value = view.text;
        element.text.classList.toggle("is-set", view.text !== "");
        element.pin.setAttribute("aria-pressed", String(view.baseline !== null));
        element.pause.setAttribute("aria-pressed", String(isPaused));
        element.plot.setAttribute("aria-pressed", String(view.isPlot));
        element.keysOn.checked = view.hasKeys;
        document.documentElement.classList.toggle("overlay", view.isOverlay);
        document.documentElement.classList.toggle("only", view.isOnly);
        document.documentElement.classList.toggle("no-keys", !view.hasKeys);
    }

    function drawActive(shown, base) {
        const list = V.filters(view);
        const parts = [`${number(shown)} of ${number(F.rows.size)} cells shown`, list.length ? `filters: ${list.join(", ")}` : "no filters",
            `metric ${view.metric}`];
        if (base) parts.push(`baseline: ${label(getter(base))}, ${valueText(base)}`);
        else if (view.baseline !== null) parts.push("baseline: not among these results");
        if (F.state.hidden) parts.push(`${number(F.state.hidden)} cells that changed longer ago are left out`);
        element.active.textContent = parts.join(" · ");
    }

    function say() {
        if (!toSay || Date.now() - saidAt < SAY_EVERY_MS) return;
        element.said.textContent = toSay;
        toSay = "";
        saidAt = Date.now();
    }

    /* --- drawing: when --- */

    let drawnAt = 0, cost = 0, timer = null, old = "", wasAlive = false;

    function drawResults() {
        const base = baseline();
        const shown = F.slots(view);
        drawActive(shown.shown, base);
        element.matrix.hidden = view.isPlot;
        element.chart.hidden = !view.isPlot;
        if (view.isOverlay || view.isOnly) return;
        if (view.isPlot) drawPlot(shown);
        else drawMatrix(shown, base);
        say();
    }

    /* `what`: "all", or what is measured "now". */
    function drawPage(what) {
        const begun = performance.now();
        timer = null;
        old = "";
        wasAlive = F.isAlive();
        drawStatus();
        if (what === "all") drawFilters();
        if (!isPaused && F.columns.length > 0) {
            drawNow();
            if (what === "all") drawResults();
        }
        drawnAt = performance.now();
        if (what === "all") cost = drawnAt - begun;
    }

    /* As soon as may be for a record, seldom enough to leave most of the time to the reader; step
     * times move four times a second, since the processors may be those that are measured. */
    function redraw(what) {
        if (old === "all" || old === what) return;
        old = what;
        if (timer !== null) clearTimeout(timer);
        timer = null;
        if (document.hidden) return;
        const rest = what === "all" ? Math.max(DRAW_EVERY_MS, 2 * cost) : DRAW_NOW_EVERY_MS;
        timer = setTimeout(() => drawPage(what), Math.max(0, rest - (performance.now() - drawnAt)));
    }

    /* Ages grow, and a run that says nothing is not alive any more. */
    function tick() {
        if (document.hidden) return;
        drawStatus();
        if (F.isAlive() !== wasAlive) redraw("all");
    }

    function told(name, data, what) {
        if (name === "reset") matrix.key = "";
        if (name === "row") toSay = `${label(getter(data))}: ${get(data, "verdict") || "published"}, ${valueText(data)}`;
        redraw(what);
    }

    /* --- what people do --- */

    function change_(part) {
        view = {...view, ...part};
        history.replaceState(null, "", location.pathname + V.write(view));
        if (timer !== null) clearTimeout(timer);
        drawPage("all");
    }

    const cycle = (axis, isBack) => change_({[axis]: V.next(V.sorted(F.axes[axis]), view[axis], isBack)});

    function pin() {
        const slot = document.activeElement && document.activeElement.classList.contains("cell") ? matrix.slots.get(matrix.focus) : null;
        const row = (slot && slot.row) || F.newest(view);
        if (row === null) return;
        change_({baseline: view.baseline === nameOf(row) || (view.baseline !== null && !slot) ? null : nameOf(row)});
    }

    function pause() {
        isPaused = !isPaused;
        recordsAtPause = F.state.records;
        drawPage("all");
    }

    function showDetails(slot) {
        if (!slot || !slot.row) return;
        const {row} = slot;
        element.detailsTitle.textContent = label(getter(row));
        element.detailsFacts.replaceChildren(...F.columns.flatMap((each, i) => {
            const found = row[i];
            if (found === null || found === "" || ["cell", "end"].includes(each.name)) return [];
            const text = typeof found === "number" ? number(found) : String(found);
            return [make("dt", {title: each.meaning}, each.name === "count" ? "records of it" : each.name), make("dd", {}, each.unit && typeof found === "number" ? `${text} ${each.unit}` : text)];
        }));
        element.details.showModal();
    }

    const actions = {
        m: (isBack) => change_({metric: V.nextMetric(view.metric, isBack)}),
        0: () => change_(V.clear(view)),
        "/": () => { element.text.focus(); element.text.select(); },
        c: pin,
        " ": pause,
        t: () => change_({isPlot: !view.isPlot}),
        "?": () => element.keys.showModal(),
    };
    for (const [key, axis] of Object.entries(KEYS)) actions[key] = (isBack) => cycle(axis, isBack);

    function onKey(event) {
        const isField = event.target.matches("input, select, textarea");
        if (event.key === "Escape" && isField) event.target.blur();
        if (!view.hasKeys || isField || event.ctrlKey || event.altKey || event.metaKey) return;
        if (document.querySelector("dialog[open]")) return;
        /* Space presses the button that has the focus, as everywhere. */
        if (event.key === " " && event.target.matches("button, summary, a")) return;
        const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
        if (!Object.hasOwn(actions, key)) return;
        event.preventDefault();
        actions[key](event.shiftKey);
    }

    function listen() {
        document.addEventListener("keydown", onKey);
        for (const axis of Object.keys(V.AXES)) by(axis).addEventListener("change", () => change_({[axis]: by(axis).value || null}));
        element.metric.addEventListener("change", () => change_({metric: element.metric.value}));
        element.text.addEventListener("input", () => change_({text: element.text.value}));
        document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
        for (const [id, key] of [["clear", "0"], ["pin", "c"], ["pause", " "], ["plot", "t"], ["help", "?"]])
            by(id).addEventListener("click", () => actions[key](false));
        element.keysOn.addEventListener("change", () => change_({hasKeys: element.keysOn.checked}));
        element.keysList.replaceChildren(...HELP.flatMap(([key, text]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, text)]));
        window.addEventListener("popstate", () => { view = V.read(location.search); redraw("all"); });
        document.addEventListener("visibilitychange", () => { if (!document.hidden) drawPage("all"); });
        setInterval(tick, 1000);
    }

    listen();
    change_({}); // a token, and what is no view, leaves the address
    F.connect(told);
})();
