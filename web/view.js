/* view.js - what of the results a page shows, as a value that is also the page's address.
 *
 * A view says which cells are shown (engine, mode, precision, seq, batch, text), by which metric,
 * against which baseline, and as what. `null` = all. Nothing here touches the page.
 */
"use strict";
var tokmarkView = (function () {
    /* The axes that can be gone through, with their field in records. */
    const AXES = {
        engine: "framework", mode: "mode", precision: "precision", seq: "seq_len", batch: "batch_size",
    };
    /* What can be shown of a cell, and the fields that hold its interval. */
    const METRICS = {
        tokens_per_sec: ["tokens_per_sec_low", "tokens_per_sec_high"],
        ms_p50: ["ms_p50_low", "ms_p50_high"],
        ms_per_step: ["ms_mean_low", "ms_mean_high"],
        ms_p90: null,
        ms_p99: null,
        peak_mem_mb: null,
        loss_last: null,
        first_step_ms: null,
    };
    const START = {
        engine: null, mode: null, precision: null, seq: null, batch: null, text: "",
        metric: "tokens_per_sec", baseline: null, isPlot: false, isOverlay: false, isOnly: false, hasKeys: true,
    };

    function read(query) {
        const given = new URLSearchParams(query);
        const view = {...START};
        for (const axis of Object.keys(AXES)) view[axis] = given.get(axis) || null;
        view.text = given.get("filter") || "";
        if (Object.hasOwn(METRICS, given.get("metric") || "")) view.metric = given.get("metric");
        view.baseline = given.get("baseline") || null;
        view.isPlot = given.get("view") === "plot";
        view.isOverlay = given.has("overlay");
        view.isOnly = given.has("only");
        view.hasKeys = given.get("keys") !== "off";
        return view;
    }

    /* "" for the view that a page begins with. */
    function write(view) {
        const query = new URLSearchParams();
        for (const axis of Object.keys(AXES)) if (view[axis] !== null) query.set(axis, view[axis]);
        if (view.text) query.set("filter", view.text);
        if (view.metric !== START.metric || view.isOnly) query.set("metric", view.metric);
        if (view.baseline !== null) query.set("baseline", view.baseline);
        if (view.isPlot) query.set("view", "plot");
        if (!view.hasKeys) query.set("keys", "off");
        let text = query.toString();
        for (const [word, isOn] of [["overlay", view.isOverlay], ["only", view.isOnly]])
            if (isOn) text += (text ? "&" : "") + word;
        return text ? "?" + text : "";
    }

    /* The value behind, or before, the present one; all (null) stands before the first. */
    function next(values, value, isBack) {
        const all = [null, ...values];
        const at = Math.max(0, all.indexOf(value));
        return all[(at + (isBack ? all.length - 1 : 1)) % all.length];
    }

    function nextMetric(metric, isBack) {
        const names = Object.keys(METRICS);
        return names[(names.indexOf(metric) + (isBack ? names.length - 1 : 1)) % names.length];
    }

    /* Numbers by size, words by letter. */
    function sorted(values) {
        return [...values].sort((a, b) => a - b || (a < b ? -1 : a > b ? 1 : 0));
    }

    const AXES_LIST = Object.entries(AXES);

    /* `get(field)` gives a field of the record. */
    function shows(view, get) {
        for (const [axis, field] of AXES_LIST)
            if (view[axis] !== null && String(get(field)) !== view[axis]) return false;
        if (view.text === "" || !view.text.trim()) return true;
        const words = ["framework", "model", "device", "device_name", "mode", "precision", "verdict", "warnings"]
            .map((field) => `${field}=${get(field) || ""}`);
        const whole = [...words, `engine=${get("framework")}`, `seq=${get("seq_len")}`, `batch=${get("batch_size")}`]
            .map((word) => word.toLowerCase());
        /* "seq=128" must not find seq=1280; other words may be a part. */
        return view.text.toLowerCase().trim().split(/\s+/).every((word) => (/^(seq|batch)=\d+$/.test(word)
            ? whole.includes(word) : whole.some((text) => text.includes(word))));
    }

    /* The filters that are on, in words. */
    function filters(view) {
        const list = Object.keys(AXES).filter((axis) => view[axis] !== null).map((axis) => `${axis} ${view[axis]}`);
        return view.text.trim() ? [...list, `“${view.text.trim()}”`] : list;
    }

    function clear(view) {
        const none = Object.fromEntries(Object.keys(AXES).map((axis) => [axis, null]));
        return {...view, ...none, text: "", baseline: null};
    }

    return {AXES, METRICS, read, write, next, nextMetric, sorted, shows, filters, clear};
})();
