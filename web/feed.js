/* feed.js - what the server tells of a results folder: the current record of each cell, and the run
 * that is at work. Takes events; nothing here touches the page.
 */
"use strict";
var tokmarkFeed = (function () {
    const V = tokmarkView;
    const CELLS_MAX = 131072; // as many as the server keeps
    const BLOCKS_MAX = 300;
    const STALE_MS = 60000, GONE_MS = 2000;
    const GROUP = ["framework", "model", "device", "mode", "precision"];
    const CELL = ["seq_len", "batch_size"];

    const feed = {
        columns: [],
        folder: "",
        rows: new Map(), // cell -> its newest record
        byId: new Map(), // cell_id -> the same
        newestRow: null,
        axes: {},
        state: {records: 0, cells: 0, bad: 0, hidden: 0, at_end: false, there: false, written_ms: 0, note: ""},
        run: null, // what events.jsonl tells: {cells, current, ...}
        clockAhead: 0, // the server's clock - ours
        isLinked: false,
    };
    let place = {}, starts = []; // when the last records began

    const get = (row, field) => row[place[field]];
    const getter = (row) => (field) => row[place[field]];
    const column = (field) => feed.columns[place[field]] || {};
    const now = () => Date.now() + feed.clockAhead;
    const groupOf = (get_) => GROUP.map((field) => get_(field) ?? "");
    const cellOf = (get_) => CELL.map((field) => get_(field) ?? 0);
    const keyOf = (group, cell) => JSON.stringify([group, cell]);

    /* --- records --- */

    /* What a link can name a cell by, whatever wrote it. */
    function nameOf(row) {
        return get(row, "cell_id") || ["framework", "device", "precision", "mode", "seq_len", "batch_size"]
            .map((field) => get(row, field)).join("/");
    }

    function forget() {
        feed.rows = new Map();
        feed.byId = new Map();
        feed.newestRow = null;
        starts = [];
        feed.axes = Object.fromEntries(Object.keys(V.AXES).map((axis) => [axis, new Set()]));
    }

    function learnAxes(get_) {
        for (const [axis, field] of Object.entries(V.AXES)) {
            const found = get_(field);
            if (found !== null && found !== undefined && found !== "") feed.axes[axis].add(String(found));
        }
    }

    function take(row) {
        const {rows, byId} = feed;
        const old = rows.get(row[0]);
        if (old && get(old, "end") >= get(row, "end")) return;
        row.isNew = feed.state.at_end;
        row.get = getter(row);
        row.group = old ? old.group : groupOf(row.get);
        row.cell = old ? old.cell : cellOf(row.get);
        row.key = old ? old.key : keyOf(row.group, row.cell);
        if (feed.newestRow === null || get(row, "end") > get(feed.newestRow, "end")) feed.newestRow = row;
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

    /* Of those that the view shows. */
    function newest(view) {
        if (feed.newestRow === null || V.shows(view, feed.newestRow.get)) return feed.newestRow;
        let best = null;
        for (const row of feed.rows.values())
            if ((best === null || get(row, "end") > get(best, "end")) && V.shows(view, row.get)) best = row;
        return best;
    }

    /* What the view shows: records, and cells of the plan that have none yet. */
    function slots(view) {
        const found = new Map();
        const add = (get_, row, id) => {
            if (!V.shows(view, get_)) return false;
            const group = row ? row.group : groupOf(get_);
            const cell = row ? row.cell : cellOf(get_);
            const key = row ? row.key : keyOf(group, cell);
            const slot = found.get(key);
            if (!slot) found.set(key, {key, group, cell, row, id, more: 0});
            else if (row && (!slot.row || get(row, "end") > get(slot.row, "end"))) Object.assign(slot, {row, id, more: slot.more + (slot.row ? 1 : 0)});
            else if (row) slot.more++;
            return true;
        };
        let shown = 0;
        for (const row of feed.rows.values()) shown += add(row.get, row, get(row, "cell_id")) ? 1 : 0;
        if (feed.run && !feed.run.isEnded)
            for (const [id, cell] of feed.run.cells) if (!feed.byId.has(id)) add((field) => cell[field], null, id);
        return {found, shown};
    }

    /* --- the run --- */

    function begin(event) {
        return {id: event.run_id, cells: new Map(), total: 0, trials: event.trials || 1, current: null, isEnded: false, isGone: false,
            first: null, machine: null};
    }

    function takeBlock(current, event) {
        if (event.phase === "measure" && current.isWarm) current.blocks = [];
        current.isWarm = event.phase !== "measure";
        current.blocks.push(event);
        if (current.blocks.length > BLOCKS_MAX) current.blocks.shift();
    }

    function takeLive(event) {
        if (event.event === "run" && (feed.run === null || feed.run.id !== event.run_id)) feed.run = begin(event);
        const {run} = feed;
        if (run === null) return;
        run.isGone = event.event === "gone"; // said by the server: its process is not there any more
        if (run.isGone) return;
        run.seen_ms = event.time_ms;
        if (event.event === "run") {
            run.total = (event.cells_count || 0) * (event.trials || 1);
            for (const cell of event.cells || []) {
                run.cells.set(cell.cell_id, cell);
                learnAxes((field) => cell[field]);
            }
        } else if (event.event === "cell" && event.state !== "skipped") {
            run.current = {id: event.cell_id, trial: event.trial, position: event.position, phase: "start", blocks: [],
                isCanary: event.is_sentinel};
            if (run.first === null) run.first = {position: event.position, time_ms: event.time_ms};
        } else if (event.event === "phase" && run.current) {
            run.current.phase = event.phase;
        } else if (event.event === "block" && run.current) {
            takeBlock(run.current, event);
        } else if (event.event === "telemetry" && run.current) {
            run.current.telemetry = event;
            if ("power_w" in event) run.machine = event;
        } else if (event.event === "end") {
            run.isEnded = true;
            run.current = null;
        }
    }

    /* What is usual between two records: the median of the last ones. */
    function usualGap() {
        const times = [...starts].sort((a, b) => a - b);
        const gaps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
        return gaps.length ? gaps[gaps.length >> 1] : 0;
    }

    /* A process that is gone says nothing any more; one that is there may be at something long. */
    function isAlive() {
        const {run} = feed;
        if (run === null || run.isEnded) return false;
        return now() - run.seen_ms < (run.isGone ? GONE_MS : STALE_MS);
    }

    function isStale() {
        const {run, state} = feed;
        if (run !== null && !run.isEnded && run.isGone) return !isAlive();
        return now() - state.written_ms > Math.max(STALE_MS, 3 * usualGap()) && !isAlive();
    }

    /* --- events --- */

    /* Each says what of the page is old then: "all", or only what is measured "now". */
    const handlers = {
        reset(data) {
            feed.columns = data.columns;
            place = Object.fromEntries(data.columns.map((each, i) => [each.name, i]));
            feed.folder = data.folder || "";
            feed.state = {...feed.state, at_end: false};
            forget();
            return "all";
        },
        rows(data) {
            data.forEach(take);
            return "all";
        },
        row(data) {
            take(data);
            return "all";
        },
        state(data) {
            feed.state = data;
            feed.clockAhead = data.now_ms - Date.now();
            return "all";
        },
        "live-reset"() {
            feed.run = null;
            return "all";
        },
        live(data) {
            takeLive(data);
            return ["block", "phase", "telemetry"].includes(data.event) ? "now" : "all";
        },
    };

    /* `told(name, data, what is old)` after each event, and when the link comes or goes. */
    function connect(told) {
        const source = new EventSource("events");
        for (const [name, handle] of Object.entries(handlers))
            source.addEventListener(name, (event) => {
                const data = event.data ? JSON.parse(event.data) : null;
                told(name, data, handle(data));
            });
        const link = (isLinked) => {
            feed.isLinked = isLinked;
            told("link", null, "all");
        };
        source.addEventListener("open", () => link(true));
        source.addEventListener("error", () => {
            link(false);
            if (source.readyState === EventSource.CLOSED) setTimeout(() => connect(told), 2000);
        });
    }

    forget();
    return Object.assign(feed, {get, getter, column, now, keyOf, nameOf, newest, slots, isAlive, isStale, connect});
})();
