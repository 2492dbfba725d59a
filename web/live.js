/* live.js - the live page: takes the server's events, keeps the current record of each cell, and
 * draws what the view (view.js) shows of them. Data only ever becomes text. */
"use strict";
(function () {
    const V = tokmarkView;
    const {make, draw, number} = tokmark;
    const CELLS_MAX = 131072; // as many as the server keeps
    const MATRIX_COLUMNS_MAX = 24, MATRIX_CELLS_MAX = 1500, LIST_ROWS = 200;
    const BLOCKS_MAX = 300;
    const DRAW_EVERY_MS = 40, SAY_EVERY_MS = 3000;
    const STALE_MS = 60000;
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
    let columns = [], place = {};
    let rows = new Map(); // cell -> its newest record
    let byId = new Map(); // cell_id -> the same
    let newestRow = null, starts = []; // when the last ones began
    let axes = {};
    let state = {records: 0, cells: 0, bad: 0, hidden: 0, at_end: false, there: false, written_ms: 0, note: ""};
    let run = null; // what events.jsonl tells: {cells, current, ...}
    let clockAhead = 0; // the server's clock - ours
    let isPaused = false, recordsAtPause = 0;
    let isLinked = false;
    let chart = null, matrix = {key: "", cells: new Map()};
    let toSay = "", saidAt = 0;

    /* --- records --- */

    const get = (row, field) => row[place[field]];
    const getter = (row) => (field) => row[place[field]];
    const column = (field) => columns[place[field]] || {};

    function label(get_) {
        return [get_("framework"), get_("model"), get_("mode"), get_("precision"), `seq ${get_("seq_len")}`,
            `batch ${get_("batch_size")}`].filter(Boolean).join(" ");
    }

    /* What a link can name a cell by, whatever wrote it. */
    function nameOf(row) {
        return get(row, "cell_id") || ["framework", "device", "precision", "mode", "seq_len", "batch_size"]
            .map((field) => get(row, field)).join("/");
    }

    function forget() {
        rows = new Map();
        byId = new Map();
        newestRow = null;
        starts = [];
        axes = Object.fromEntries(Object.keys(V.AXES).map((axis) => [axis, new Set()]));
        matrix.key = "";
    }

    function learnAxes(get_) {
        for (const [axis, field] of Object.entries(V.AXES)) {
            const value = get_(field);
            if (value !== null && value !== undefined && value !== "") axes[axis].add(String(value));
        }
    }

    function take(row) {
        const old = rows.get(row[0]);
        if (old && get(old, "end") >= get(row, "end")) return;
        row.isNew = state.at_end;
        row.get = getter(row);
        row.group = old ? old.group : GROUP.map((field) => get(row, field) ?? "");
        row.cell = old ? old.cell : CELL.map((field) => get(row, field) ?? 0);
        row.key = old ? old.key : JSON.stringify([row.group, row.cell]);
        if (newestRow === null || get(row, "end") > get(newestRow, "end")) newestRow = row;
        const started = Date.parse(get(row, "started_at"));
        if (Number.isFinite(started)) starts = [...starts.slice(-49), started];
        rows.set(row[0], row);
        byId.set(nameOf(row), row);
        if (!old) learnAxes(row.get);
        if (rows.size > CELLS_MAX) {
            const [first, oldest] = rows.entries().next().value;
            rows.delete(first);
            byId.delete(nameOf(oldest));
        }
    }

    /* Of those that are shown. */
    function newest() {
        if (newestRow === null || V.shows(view, newestRow.get)) return newestRow;
        let best = null;
        for (const row of rows.values())
            if ((best === null || get(row, "end") > get(best, "end")) && V.shows(view, row.get)) best = row;
        return best;
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

    /* --- events --- */

    function takeLive(event) {
        if (event.event === "run" && (run === null || run.id !== event.run_id))
            run = {id: event.run_id, cells: new Map(), total: 0, trials: event.trials || 1, current: null,
                isEnded: false, begun_ms: event.time_ms, first: null};
        if (run === null) return;
        run.seen_ms = event.time_ms;
        if (event.event === "run") {
            run.total = (event.cells_count || 0) * (event.trials || 1);
            for (const cell of event.cells || []) {
                run.cells.set(cell.cell_id, cell);
                learnAxes((field) => cell[field]);
            }
        } else if (event.event === "cell" && event.state !== "skipped") {
            run.current = {id: event.cell_id, trial: event.trial, position: event.position, phase: "start", blocks: [],
                isSentinel: event.is_sentinel};
            if (run.first === null) run.first = {position: event.position, time_ms: event.time_ms};
        } else if (event.event === "phase" && run.current) {
            run.current.phase = event.phase;
        } else if (event.event === "block" && run.current) {
            if (event.phase === "measure" && run.current.isWarm) run.current.blocks = [];
            run.current.isWarm = event.phase !== "measure";
            run.current.blocks.push(event);
            if (run.current.blocks.length > BLOCKS_MAX) run.current.blocks.shift();
        } else if (event.event === "telemetry" && run.current) {
            run.current.telemetry = event;
        } else if (event.event === "record" && run.current) {
            run.current.verdict = event.verdict;
        } else if (event.event === "end") {
            run.isEnded = true;
            run.current = null;
        }
    }

    const handlers = {
        reset(data) {
            columns = data.columns;
            place = Object.fromEntries(columns.map((each, i) => [each.name, i]));
            element.folder.textContent = data.folder || "";
            document.title = data.folder ? `${data.folder} · tokmark live` : "tokmark live";
            state = {...state, at_end: false};
            forget();
        },
        rows(data) {
            data.forEach(take);
        },
        row(data) {
            take(data);
            toSay = `${label(getter(data))}: ${get(data, "verdict") || "published"}, ${valueText(data)}`;
        },
        state(data) {
            state = data;
            clockAhead = data.now_ms - Date.now();
        },
        "live-reset"() {
            run = null;
        },
        live: takeLive,
    };

    function connect() {
        const source = new EventSource("events");
        for (const [name, handle] of Object.entries(handlers))
            source.addEventListener(name, (event) => {
                handle(event.data ? JSON.parse(event.data) : null);
                redraw();
            });
        source.addEventListener("open", () => {
            isLinked = true;
            redraw();
        });
        source.addEventListener("error", () => {
            isLinked = false;
            redraw();
            if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
        });
    }

    /* --- texts --- */

    function duration(ms) {
        const s = Math.max(0, Math.round(ms / 1000));
        if (s < 90) return `${s} s`;
        if (s < 5400) return `${Math.round(s / 60)} min`;
        return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
    }

    /* For where there is little room. */
    function brief(found) {
        if (typeof found !== "number" || Math.abs(found) < 1e8) return number(found);
        const [unit, letter] = Math.abs(found) >= 1e12 ? [1e12, "T"] : Math.abs(found) >= 1e9 ? [1e9, "G"] : [1e6, "M"];
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

    const baseline = () => (view.baseline !== null && byId.get(view.baseline)) || null;

    /* --- drawing: the state --- */

    function pill(node, kind, text) {
        node.className = `pill ${kind}`;
        node.textContent = text;
        node.hidden = !text;
    }

    /* What is usual between two records: the median of the last ones. */
    function usualGap() {
        const times = [...starts].sort((a, b) => a - b);
        const gaps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
        return gaps.length ? gaps[gaps.length >> 1] : 0;
    }

    function isRunAlive(now) {
        return run !== null && !run.isEnded && now - run.seen_ms < STALE_MS;
    }

    function drawStatus() {
        const now = Date.now() + clockAhead;
        if (!isLinked) pill(element.link, "bad", "no connection");
        else if (isPaused) pill(element.link, "warn", `paused, ${state.records - recordsAtPause} new`);
        else if (state.there && !state.at_end) pill(element.link, "warn", `reading ${Math.round((100 * state.read_bytes) / Math.max(1, state.file_bytes))} %`);
        else pill(element.link, "good", "live");
        const age = now - state.written_ms;
        const isStale = age > Math.max(STALE_MS, 3 * usualGap()) && !isRunAlive(now);
        if (!state.written_ms || state.records === 0) pill(element.age, "", "");
        else if (run && run.isEnded) pill(element.age, "good", `finished, newest record ${duration(age)} ago`);
        else pill(element.age, isStale ? "warn" : "good", `${isStale ? "STALE: " : ""}newest record ${duration(age)} ago`);
        element.counts.textContent = `${number(state.records)} records, ${number(state.cells)} cells` +
            (state.known ? `, ${number(state.known)} repeated` : "");
        pill(element.bad, "bad", state.bad ? `${number(state.bad)} bad line${state.bad === 1 ? "" : "s"}` : "");
        element.bad.title = state.note || "";
        const note = !state.there && isLinked ? state.note || "waiting for the first record" : state.bad ? `Last bad line: ${state.note}` : state.note;
        element.note.textContent = note || "";
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

    function sweepText() {
        if (!run || !run.current || !run.total) return "";
        const {position} = run.current;
        const done = position - run.first.position;
        const left = run.total - position;
        const per = done > 0 ? (run.seen_ms - run.first.time_ms) / done : 0;
        return `cell ${position + 1} of ${run.total}${per ? `, about ${duration(per * left)} left` : ""}`;
    }

    function drawCurrent() {
        const {current} = run;
        const cell = run.cells.get(current.id);
        const last = current.blocks[current.blocks.length - 1];
        const [low, middle, high] = last ? [last.ms_p50_low, last.ms_p50, last.ms_p50_high] : [];
        element.nowState.textContent = current.isSentinel ? "measuring the canary cell again" : `now: ${current.phase}`;
        element.nowLabel.textContent = cell ? label((field) => cell[field]) : "a cell";
        element.nowSweep.textContent = sweepText();
        element.nowValue.textContent = number(middle ?? (last ? last.ms_per_step : null));
        element.nowUnit.textContent = middle ? "ms, median step" : last ? "ms per step" : "";
        element.nowInterval.textContent = low && high ? `95 % interval ${number(low)} to ${number(high)} ms (±${((50 * (high - low)) / middle).toFixed(1)} %)` : "";
        drawSteps(current.blocks.map((block) => block.ms_per_step), low, middle, high);
        setFacts(element.nowFacts, [
            ["trial", run.trials > 1 ? `${current.trial + 1} of ${run.trials}` : ""],
            ["samples", last && last.samples ? number(last.samples) : ""],
            ["set aside", last && last.set_aside_steps ? `${number(last.set_aside_steps)} steps` : ""],
            ["cell left", last && last.remaining_ms >= 1000 ? `about ${duration(last.remaining_ms)}` : ""],
            ["memory", current.telemetry && current.telemetry.rss_mb ? `${number(current.telemetry.rss_mb)} MiB` : ""],
            ["loss", last && typeof last.loss === "number" ? number(last.loss) : ""],
        ]);
    }

    function drawNewest(row) {
        const ends = interval(row);
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
        const isLive = run !== null && run.current !== null && !view.isOnly && Date.now() + clockAhead - run.seen_ms < 10 * STALE_MS;
        const row = isLive ? null : newest();
        element.now.hidden = !isLive && row === null;
        element.now.classList.toggle("is-record", !isLive);
        element.nowSteps.toggleAttribute("hidden", !isLive);
        if (isLive) drawCurrent();
        else if (row !== null) drawNewest(row);
    }

    /* --- drawing: the matrix --- */

    /* What is shown: records, and cells of the plan that have none yet. */
    function slots() {
        const found = new Map();
        const add = (get_, row, id) => {
            if (!V.shows(view, get_)) return false;
            const group = row ? row.group : GROUP.map((field) => get_(field) ?? "");
            const cell = row ? row.cell : CELL.map((field) => get_(field) ?? 0);
            const key = row ? row.key : JSON.stringify([group, cell]);
            const slot = found.get(key);
            if (!slot) found.set(key, {key, group, cell, row, id, more: 0});
            else if (row && (!slot.row || get(row, "end") > get(slot.row, "end"))) Object.assign(slot, {row, id, more: slot.more + (slot.row ? 1 : 0)});
            else if (row) slot.more++;
            return true;
        };
        let shown = 0;
        for (const row of rows.values()) shown += add(row.get, row, get(row, "cell_id")) ? 1 : 0;
        if (run && !run.isEnded) for (const [id, cell] of run.cells) if (!byId.has(id)) add((field) => cell[field], null, id);
        return {found, shown};
    }

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

    function fillCell(button, slot, base) {
        const {row} = slot;
        const isNow = run !== null && run.current !== null && !run.current.isSentinel && run.current.id === slot.id;
        button.classList.toggle("is-now", isNow);
        button.classList.toggle("is-pinned", row !== null && base === row);
        button.classList.toggle("empty", row === null);
        if (row === null) {
            button.replaceChildren(isNow ? "▶ measuring" : "waiting");
            return;
        }
        const second = base === row ? "baseline" : base ? change(row, base) : plusMinus(row);
        const content = [make("b", {}, brief(value(row))), make("small", {}, second || "\u00a0"),
            verdictNode(get(row, "verdict"), get(row, "warnings"))];
        if (isNow) content.push(make("small", {}, "▶ measuring again"));
        if (slot.more) content.push(make("small", {}, `and ${slot.more} more like it`));
        button.replaceChildren(...content);
        if (row.isNew && button.shown !== undefined && button.shown !== get(row, "end")) {
            button.classList.remove("is-new");
            void button.offsetWidth; // begins the animation anew
            button.classList.add("is-new");
        }
        button.shown = get(row, "end");
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
            element.matrix.replaceChildren(make("p", {class: "faint"}, rows.size ? "No cell is let through: 0 switches all filters off." : "No records yet."));
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
        const list = [...series].sort((a, b) => compare([a[0]], [b[0]])).slice(0, 8);
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
        for (const axis of Object.keys(V.AXES)) fillSelect(by(axis), V.sorted(axes[axis] || []), view[axis], "all");
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
        const parts = [`${number(shown)} of ${number(rows.size)} cells shown`, list.length ? `filters: ${list.join(", ")}` : "no filters",
            `metric ${view.metric}`];
        if (base) parts.push(`baseline: ${label(getter(base))}, ${valueText(base)}`);
        else if (view.baseline !== null) parts.push("baseline: not among these results");
        if (state.hidden) parts.push(`${number(state.hidden)} cells that changed longer ago are left out`);
        element.active.textContent = parts.join(" · ");
    }

    function say() {
        if (!toSay || Date.now() - saidAt < SAY_EVERY_MS) return;
        element.said.textContent = toSay;
        toSay = "";
        saidAt = Date.now();
    }

    /* --- drawing: when --- */

    let drawnAt = 0, timer = null;

    function drawAll() {
        timer = null;
        const begun = performance.now();
        drawStatus();
        drawFilters();
        if (isPaused || columns.length === 0) return;
        drawNow();
        const base = baseline();
        const shown = slots();
        drawActive(shown.shown, base);
        element.matrix.hidden = view.isPlot;
        element.chart.hidden = !view.isPlot;
        if (view.isOverlay || view.isOnly) return;
        if (view.isPlot) drawPlot(shown);
        else drawMatrix(shown, base);
        say();
        drawnAt = performance.now();
        drawAll.cost = drawnAt - begun;
    }

    /* As soon as may be; seldom enough to leave most of the time to the reader. */
    function redraw() {
        if (timer !== null) return;
        const wait = Math.max(DRAW_EVERY_MS, 2 * (drawAll.cost || 0)) - (performance.now() - drawnAt);
        timer = setTimeout(drawAll, Math.max(0, wait));
    }

    /* --- what people do --- */

    function change_(part) {
        view = {...view, ...part};
        history.replaceState(null, "", location.pathname + V.write(view));
        if (timer !== null) clearTimeout(timer);
        drawAll();
    }

    const cycle = (axis, isBack) => change_({[axis]: V.next(V.sorted(axes[axis] || []), view[axis], isBack)});

    function pin() {
        const slot = document.activeElement && document.activeElement.classList.contains("cell") ? matrix.slots.get(matrix.focus) : null;
        const row = (slot && slot.row) || newest();
        if (row === null) return;
        change_({baseline: view.baseline === nameOf(row) || (view.baseline !== null && !slot) ? null : nameOf(row)});
    }

    function pause() {
        isPaused = !isPaused;
        recordsAtPause = state.records;
        drawAll();
    }

    function showDetails(slot) {
        if (!slot || !slot.row) return;
        const {row} = slot;
        element.detailsTitle.textContent = label(getter(row));
        element.detailsFacts.replaceChildren(...columns.flatMap((each, i) => {
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
        window.addEventListener("popstate", () => { view = V.read(location.search); redraw(); });
        setInterval(redraw, 1000); // ages grow
    }

    forget();
    listen();
    change_({}); // a token, and what is no view, leaves the address
    connect();
})();
