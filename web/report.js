/* report.js - the blocks of a report (src/report/document.h) as a page. They come as JSON in the page
 * itself; all of it becomes text, never markup. */
"use strict";
(function () {
    const {make, link, chart} = tokmark;
    const ROWS_AT_ONCE = 100;
    const ROWS_WITH_FILTER = 12;
    const CHARTS_AT_ONCE = 12;
    const SIGNS = {good: "✓", warn: "!", bad: "✗"};

    const data = JSON.parse(document.getElementById("data").textContent);
    const main = document.getElementById("content");
    const sections = document.getElementById("sections");

    /* A tone is a colour and a sign; the word stands behind it. */
    function toned(tone, text) {
        if (!tone || tone === "plain") return text;
        const sign = text.startsWith("▲") || text.startsWith("▼") || !SIGNS[tone] || /^[!?~+-] /.test(text) ? "" : `${SIGNS[tone]} `;
        return make("span", {class: `verdict ${tone}`}, sign + text);
    }

    /* A cell is a text, or {t: text, v: value, k: tone, h: link}. */
    function textOf(cell) {
        return typeof cell === "string" ? cell : cell.t;
    }

    function show(cell) {
        if (typeof cell === "string") return cell;
        return cell.h ? link(cell.h, "samples") : toned(cell.k, cell.t);
    }

    /* By number where there are any; what has none comes last, whichever way. */
    function compare(a, b, column, turn) {
        const left = a[column], right = b[column];
        const hasLeft = typeof left.v === "number", hasRight = typeof right.v === "number";
        if (hasLeft && hasRight) return turn * (left.v - right.v);
        if (hasLeft || hasRight) return hasLeft ? -1 : 1;
        return turn * textOf(left).localeCompare(textOf(right), "en", {numeric: true});
    }

    /* --- tables --- */

    function Table(block) {
        this.block = block;
        this.rows = block.rows;
        this.limit = ROWS_AT_ONCE;
        this.sorted = null;
        this.isDescending = false;
        this.filter = "";
        this.head = make("tr");
        this.body = make("tbody");
        this.more = make("button", {type: "button", class: "plain"});
        this.count = make("span", {role: "status", class: "faint"});
        const name = block.title || "table";
        const canSort = Boolean(block.id) && block.rows.length > 1; // no id: its last line sums up
        block.columns.forEach((column, i) => {
            const title = canSort ? make("button", {type: "button", class: "sort"}, column.title) : column.title;
            if (canSort) title.addEventListener("click", () => this.sort(i));
            this.head.append(make("th", {scope: "col", class: column.number ? "number" : null}, title,
                column.unit ? make("span", {class: "unit"}, column.unit) : null));
        });
        this.more.addEventListener("click", () => {
            this.limit = Infinity;
            this.fill();
        });
        this.tools = make("div", {class: "tools"});
        if (block.rows.length > ROWS_WITH_FILTER) {
            const input = make("input", {type: "search", autocomplete: "off", spellcheck: "false"});
            input.addEventListener("input", () => {
                this.filter = input.value.toLowerCase();
                this.limit = ROWS_AT_ONCE;
                this.fill();
            });
            this.tools.append(make("label", {}, "Only rows with these words", input), this.count);
        }
        this.element = make("div", {}, make("h3", {id: block.id || null}, name), this.tools,
            make("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": name},
                make("table", {}, make("thead", {}, this.head), this.body)),
            this.more);
        this.fill();
    }

    Table.prototype.chosen = function () {
        const words = this.filter.split(/\s+/).filter(Boolean);
        let rows = this.rows;
        if (words.length > 0)
            rows = rows.filter((row) => {
                const text = row.map(textOf).join("\n").toLowerCase();
                return words.every((word) => text.includes(word));
            });
        if (this.sorted !== null) {
            const turn = this.isDescending ? -1 : 1;
            rows = [...rows].sort((a, b) => compare(a, b, this.sorted, turn));
        }
        return rows;
    };

    Table.prototype.sort = function (column) {
        this.isDescending = this.sorted === column ? !this.isDescending : Boolean(this.block.columns[column].number);
        this.sorted = column;
        [...this.head.children].forEach((head, i) => {
            if (i === column) head.setAttribute("aria-sort", this.isDescending ? "descending" : "ascending");
            else head.removeAttribute("aria-sort");
        });
        this.fill();
    };

    Table.prototype.fill = function () {
        const rows = this.chosen();
        const shown = rows.slice(0, this.limit);
        this.body.replaceChildren(...shown.map((row) => make("tr", {}, ...row.map((cell, i) =>
            make(i === 0 ? "th" : "td", {
                scope: i === 0 ? "row" : null, class: this.block.columns[i].number ? "number" : null,
            }, show(cell))))));
        this.more.hidden = shown.length === rows.length;
        this.more.textContent = `Show all ${tokmark.number(rows.length)} rows`;
        this.count.textContent = this.filter ? `${tokmark.number(rows.length)} of ${tokmark.number(this.rows.length)} rows` : `${tokmark.number(rows.length)} rows`;
    };

    /* --- charts --- */

    /* Those far down are drawn when they come near, and all of them for the printer. */
    const waiting = new Map();
    const near = typeof IntersectionObserver === "function" ? new IntersectionObserver((entries) => {
        for (const entry of entries) if (entry.isIntersecting) drawNow(entry.target);
    }, {rootMargin: "1200px"}) : null;

    function drawNow(place) {
        const wanted = waiting.get(place);
        if (!wanted) return;
        waiting.delete(place);
        if (near) near.unobserve(place);
        place.replaceChildren();
        chart(place, wanted);
    }

    let chartsCount = 0;
    function placeChart(wanted) {
        const place = make("div", {class: "place"});
        if (near === null || chartsCount++ < CHARTS_AT_ONCE) chart(place, wanted);
        else {
            place.append(make("div", {class: "chart waiting"}, make("h3", {}, wanted.title)));
            waiting.set(place, wanted);
            near.observe(place);
        }
        return place;
    }

    window.addEventListener("beforeprint", () => [...waiting.keys()].forEach(drawNow));

    /* --- blocks --- */

    const makers = {
        text: (block) => make("p", {}, block.text),
        alarm: (block) => make("div", {class: "alarm", role: "note"}, make("strong", {}, block.title), make("p", {}, block.text)),
        cards: (block) => make("div", {class: "cards"}, ...block.items.map((item) => make("div", {class: "card"},
            make("h3", {}, item.label),
            make("p", {class: item.value.length > 24 ? "big long" : "big"}, toned(item.tone, item.value)),
            item.more ? make("p", {class: "faint"}, item.more) : null))),
        facts: (block) => {
            const list = make("dl", {class: "facts"}, ...block.items.flatMap((item) =>
                [make("dt", {}, item.label), make("dd", {}, item.value)]));
            return block.folded ? make("details", {}, make("summary", {}, block.title), list)
                : make("div", {}, make("h3", {}, block.title), list);
        },
        table: (block) => new Table(block).element,
        charts: (block) => make("div", {class: "charts"}, ...block.charts.map(placeChart)),
    };

    let now = main;
    const later = [];
    for (const block of data.blocks) {
        if (block.kind === "section") {
            now = make("section", {"aria-labelledby": block.id}, make("h2", {id: block.id}, block.title));
            main.append(now);
            sections.append(make("li", {}, make("a", {href: `#${block.id}`}, block.title)));
        } else if (makers[block.kind]) {
            const place = make("div", {class: `${block.kind}-block`});
            const isSmall = block.kind === "table" && !block.id && block.columns.length <= 7;
            if (!isSmall) now.append(place);
            else if (now.lastElementChild && now.lastElementChild.className === "tables") now.lastElementChild.append(place);
            else now.append(make("div", {class: "tables"}, place));
            later.push([place, block]);
        }
    }
    /* In the page before they are drawn: charts take their width from it. */
    for (const [place, block] of later) place.append(makers[block.kind](block));
    document.documentElement.dataset.ready = "yes";
})();
