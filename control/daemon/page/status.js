// SPDX-License-Identifier: BSD-3-Clause
// Copyright (c) 2026 The Sluice authors
//
// The status page. It asks for status.json, makes rates of two answers, and shows the rows that can be
// seen. What came from the balancer is put in by textContent and setAttribute alone, never as markup.
'use strict';

const POLL_MS = 2000;
const TIMEOUT_MS = 8000;
const SAMPLES = 60; // of a trend
const SERVICE_ROWS = 50; // of a page
const BACKEND_ROWS = 100; // of a service
const MAX_OPEN = 20;
const OPEN_AT_FIRST = 60; // backends, if there are no more

const view = {filter: '', bad: false, sort: 'name', down: false, page: 0, open: new Set(), first: new Map()};
let last = null; // the document that is shown
let backendsOf = new Map(); // service -> its backends, where the document has none
let shownAt = 0; // performance.now() of its arrival
let failure = ''; // why there is no newer one
let paused = false;
let timer = 0;
let polling = false;

const $ = (id) => document.getElementById(id);

// ---- numbers and words

function short(value) {
	if (value === null || value === undefined)
		return '–';
	let unit = 0;
	while (value >= 999.5 && unit < 5) {
		value /= 1000;
		unit++;
	}
	const digits = unit === 0 && Number.isInteger(value) ? 0 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
	return value.toFixed(value > 0 && value < 0.005 ? 3 : digits) + (unit ? ' ' + 'kMGTP'[unit - 1] : '');
}

function whole(value) {
	return value === null || value === undefined ? '–' : value < 1e6 ? Math.round(value).toLocaleString('en') : short(value);
}

function span(seconds) {
	const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
	const i = Math.max(0, parts.findIndex(([size]) => seconds >= size));
	if (seconds < 1)
		return '0 s';
	const rest = i < 2 ? Math.floor(seconds % parts[i][0] / parts[i + 1][0]) : 0;
	return Math.floor(seconds / parts[i][0]) + ' ' + parts[i][1] + (rest ? ' ' + rest + ' ' + parts[i + 1][1] : '');
}

function count(n, word) {
	return whole(n) + ' ' + word + (n === 1 ? '' : 's');
}

// ---- rates

// Of everything that is counted: rates a second since the answer before, and the last packet rates.
class Rates {
	constructor() {
		this.known = new Map();
	}

	// Null where nothing can be said: the first answer, or a counter that began anew.
	take(key, counters, clock, trended) {
		let entry = this.known.get(key);
		if (!entry)
			this.known.set(key, entry = {clock: 0, counters: null, rate: {}, trend: [], used: 0});
		entry.used = performance.now();
		if (!counters) {
			entry.counters = null;
			entry.rate = {};
		} else if (clock !== entry.clock) {
			const seconds = (clock - entry.clock) / 1e6;
			entry.rate = {};
			for (const name of Object.keys(counters)) {
				const before = entry.counters ? entry.counters[name] : undefined;
				entry.rate[name] = before !== undefined && counters[name] >= before && seconds > 0 ?
					(counters[name] - before) / seconds : null;
			}
			entry.counters = counters;
			if (trended) {
				const value = trended(entry.rate);
				if (value !== null || entry.trend.length)
					entry.trend.push(value);
				if (entry.trend.length > SAMPLES)
					entry.trend.shift();
			}
		}
		entry.clock = clock;
		return entry;
	}

	// Forgets what was not asked for in a minute: services that are gone or closed.
	prune() {
		for (const [key, entry] of this.known)
			if (performance.now() - entry.used > 60000)
				this.known.delete(key);
	}

	forget() {
		for (const entry of this.known.values())
			entry.counters = null;
	}
}

const rates = new Rates();

function sum(a, b) {
	return a === null || b === null || a === undefined || b === undefined ? null : a + b;
}

const packets = (rate) => sum(rate.packets_in, rate.packets_out);
const orNull = (value) => value === undefined ? null : value;

// ---- states

// What a backend is, as a kind (its shape and colour), words, and how much it wants to be looked at.
function backendState(backend) {
	const check = backend.check || {};
	if (backend.state === 'maint')
		return {kind: 'maint', word: 'maint', rank: 2};
	if (backend.health === 'down')
		return {kind: 'down', word: check.panic ? 'DOWN, yet used' : 'DOWN', rank: 5};
	if (backend.state === 'drain')
		return {kind: 'drain', word: 'drain', rank: 3};
	if (backend.in_use === false && backend.role !== 'active')
		return {kind: 'up', word: backend.role + ', stands by', rank: 0};
	if (backend.health === 'unknown')
		return {kind: 'unknown', word: check.checks > 0 ? 'unknown' : 'not checked yet', rank: 1};
	if (backend.health === 'unchecked')
		return {kind: 'ready', word: 'ready', rank: 0};
	return {kind: 'up', word: check.weight_percent < 100 ? 'up, ' + check.weight_percent + ' % of its weight' : 'up', rank: 0};
}

function serviceState(service) {
	const n = service.backend_states;
	const all = n.up + n.down + n.unknown + n.unchecked + n.drain + n.maint;
	const idle = (n.drain ? ', ' + n.drain + ' drain' : '') + (n.maint ? ', ' + n.maint + ' maint' : '');
	if (service.mode === 'snat')
		return {kind: 'ready', word: 'leads out', rank: 0};
	if (all === 0)
		return {kind: 'down', word: 'no backend', rank: 6};
	if (service.panic)
		return {kind: 'down', word: n.down + ' of ' + all + ' DOWN, all used', rank: 6};
	if (n.up + n.unknown + n.unchecked === 0)
		return {kind: n.down ? 'down' : 'care', word: n.down ? n.down + ' of ' + all + ' DOWN' + idle : 'none takes flows' + idle, rank: n.down ? 6 : 4};
	if (n.down)
		return {kind: 'care', word: n.down + ' of ' + all + ' DOWN' + idle, rank: 5};
	if (n.drain || n.maint)
		return {kind: 'drain', word: (n.up + n.unknown + n.unchecked) + ' of ' + all + idle, rank: 3};
	if (n.unknown)
		return {kind: 'unknown', word: n.unknown + ' unknown', rank: 1};
	return {kind: n.unchecked ? 'ready' : 'up', word: all + (n.unchecked ? ' ready' : ' up'), rank: 0};
}

function backendDetail(backend) {
	const check = backend.check;
	const parts = [];
	if (backend.health === 'down' && check)
		parts.push(check.reason || 'no reason is known');
	else if (check && check.checks > 0 && backend.state !== 'maint')
		parts.push(check.reason ? 'last check: ' + check.reason : 'checked in ' + (check.took_seconds * 1000).toFixed(1) + ' ms');
	if (check && check.held_seconds > 0)
		parts.push('held ' + span(check.held_seconds) + ' more');
	if (check && check.hint && check.hint.ago_seconds < 60)
		parts.push(check.hint.failed + ' of ' + check.hint.openings + ' openings failed');
	if (backend.neighbour === false && backend.state !== 'maint')
		parts.push('no link address');
	return parts.join('; ');
}

// ---- what the table shows

function live(backend) {
	return backend.counters ? backend.counters.flows - backend.counters.flows_ended : null;
}

function backendsOfService(service) {
	return service.backends || backendsOf.get(service.name) || null;
}

// A service with all that is shown and sorted by.
function measureService(service, clock) {
	const {rate, trend} = rates.take('service ' + service.name, service.counters, clock, packets);
	const backends = backendsOfService(service);
	const state = serviceState(service);
	return {
		service, backends, state, rate, trend, name: service.name, address: service.address, rank: state.rank,
		live: backends && last.status.connected ? backends.reduce((total, backend) => sum(total, live(backend)), 0) : null,
		packets: packets(rate), n_backends: Object.values(service.backend_states).reduce((a, b) => a + b, 0),
	};
}

const COLUMNS = [
	{key: 'name', title: 'Service', value: (row) => row.name, words: true},
	{key: 'address', title: 'Address', value: (row) => row.address, words: true, style: 'detail'},
	{key: 'state', title: 'State', value: (row) => row.rank, style: 'state', falls: true},
	{key: 'weight', title: 'Weight', value: (row) => row.n_backends, style: 'number weight wide', falls: true},
	{key: 'live', title: 'Flows', value: (row) => row.live, style: 'number', falls: true},
	{key: 'flows', title: 'New/s', value: (row) => row.rate.flows, style: 'number', falls: true},
	{key: 'packets', title: 'Packets/s', value: (row) => row.packets, style: 'number', falls: true},
	{key: 'in', title: 'In bit/s', value: (row) => row.rate.bytes_in, style: 'number', falls: true},
	{key: 'out', title: 'Out bit/s', value: (row) => row.rate.bytes_out, style: 'number', falls: true},
	{key: 'drops', title: 'Drops/s', value: (row) => row.rate.drops, style: 'number', falls: true},
	{key: 'trend', title: 'Two minutes', style: 'trend wide'},
];

function sorted(rows) {
	const column = COLUMNS.find((one) => one.key === view.sort);
	const sign = view.down ? -1 : 1;
	const compareNames = (a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
	return rows.sort((a, b) => {
		const x = column.value(a) ?? -1;
		const y = column.value(b) ?? -1;
		return (x < y ? -sign : x > y ? sign : 0) || compareNames(a, b);
	});
}

function matches(row, words) {
	const text = (row.name + ' ' + row.address + ' ' + row.service.mode).toLowerCase();
	return words.every((word) => text.includes(word) ||
		(row.backends || []).some((backend) => backend.address.includes(word)));
}

// ---- the document

// Sets what differs, so that nothing is laid out anew for nothing.
function setText(node, text) {
	if (node.textContent !== text)
		node.textContent = text;
}

function setClass(node, name) {
	if (node.className !== name)
		node.className = name;
}

function make(tag, className, text) {
	const node = document.createElement(tag);
	if (className)
		node.className = className;
	if (text !== undefined)
		node.textContent = text;
	return node;
}

function drawing() {
	const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
	svg.setAttribute('viewBox', '0 0 100 20');
	svg.setAttribute('preserveAspectRatio', 'none');
	svg.setAttribute('aria-hidden', 'true');
	svg.append(document.createElementNS('http://www.w3.org/2000/svg', 'polyline'));
	return svg;
}

// The line of a trend, as high as its own maximum; the newest at the right.
function draw(svg, trend) {
	const top = Math.max(...trend.map((value) => value || 0), 1e-9);
	const points = trend.map((value, i) =>
		(100 - (trend.length - 1 - i) * 100 / (SAMPLES - 1)).toFixed(1) + ',' + (19 - 18 * (value || 0) / top).toFixed(1));
	svg.firstChild.setAttribute('points', points.join(' '));
}

// Makes the children of @parent those of @wanted, [key, make, fill]; those that stay are not touched.
function reconcile(parent, wanted) {
	const known = parent.keyed || (parent.keyed = new Map());
	const kept = new Set(wanted.map(([key]) => key));
	for (const [key, node] of known) {
		if (!kept.has(key)) {
			node.remove();
			known.delete(key);
		}
	}
	let place = parent.firstChild;
	for (const [key, create, fill] of wanted) {
		let node = known.get(key);
		if (!node)
			known.set(key, node = create());
		if (node === place)
			place = place.nextSibling;
		else
			parent.insertBefore(node, place);
		fill(node);
	}
}

function makeCells(className) {
	const row = make('tr', className);
	row.cell = {};
	for (const column of COLUMNS) {
		const cell = row.cell[column.key] = make('td', column.style);
		cell.dataset.label = column.title;
		row.append(cell);
	}
	const mark = make('i');
	mark.setAttribute('aria-hidden', 'true');
	row.cell.state.append(mark, make('span'));
	return row;
}

function fillState(row, state) {
	setClass(row.cell.state.firstChild, 'mark ' + state.kind);
	setText(row.cell.state.lastChild, state.word);
}

function fillNumber(cell, text) {
	setText(cell, text);
	cell.classList.toggle('zero', text === '0' || text === '–' || text === '');
}

function bits(bytes) {
	return short(bytes === null || bytes === undefined ? null : bytes * 8);
}

function fillRates(row, rate, flows) {
	fillNumber(row.cell.live, whole(flows));
	fillNumber(row.cell.flows, short(rate.flows));
	fillNumber(row.cell.packets, short(packets(rate)));
	fillNumber(row.cell.in, bits(rate.bytes_in));
	fillNumber(row.cell.out, bits(rate.bytes_out));
	fillNumber(row.cell.drops, 'drops' in rate ? short(rate.drops) : '');
}

function makeServiceRow(name) {
	const row = makeCells('service');
	const button = make('button', 'toggle', name);
	button.type = 'button';
	button.addEventListener('click', () => toggle(name));
	row.cell.name.append(button);
	row.cell.address.append(make('span'), make('small'));
	row.cell.trend.append(drawing());
	row.button = button;
	return row;
}

function fillServiceRow(row, data) {
	const service = data.service;
	const open = view.open.has(data.name);
	const style = data.state.rank >= 6 ? 'down' : data.state.rank >= 4 ? 'care' : '';
	setClass(row, ['service', open ? 'open' : '', style].filter(Boolean).join(' '));
	row.button.setAttribute('aria-expanded', String(open));
	setText(row.cell.address.firstChild, service.address);
	setText(row.cell.address.lastChild, [service.mode, service.mode === 'snat' ? '' : service.scheduler, service.owner === 'api' ? 'by api' : ''].filter(Boolean).join(' '));
	fillState(row, data.state);
	setText(row.cell.weight, service.mode === 'snat' ? '' : count(data.n_backends, 'backend'));
	fillRates(row, {drops: null, ...data.rate}, data.live);
	draw(row.cell.trend.firstChild, data.trend);
}

function makeBackendRow(address) {
	const row = makeCells('backend');
	setText(row.cell.name, address);
	return row;
}

function fillBackendRow(row, backend, rate, isLast) {
	const state = backendState(backend);
	const detail = backendDetail(backend);
	const since = backend.health_seconds === undefined || state.rank < 5 ? '' : ' for ' + span(backend.health_seconds);
	setClass(row, ['backend', state.kind === 'drain' ? 'care' : state.kind, isLast ? 'last' : ''].join(' '));
	setText(row.cell.address, detail);
	row.cell.address.title = detail;
	fillState(row, {...state, word: state.word + since});
	setText(row.cell.weight, backend.weight + (backend.share === undefined ? '' : ' · ' + (backend.share * 100).toFixed(0) + ' %'));
	fillRates(row, rate, live(backend));
}

// The rows below a service that is open: its backends, a page of them, and how to see more.
function backendRows(data, clock) {
	const key = 'b ' + data.name + ' ';
	if (!data.backends) {
		const text = data.service.mode === 'snat' ? 'a prefix that is led out; it has no backends' : 'asked for, not here yet';
		return [[key + 'note', () => makeNote(), (row) => setText(row.firstChild, text)]];
	}
	const first = Math.min(view.first.get(data.name) || 0, Math.max(0, data.backends.length - 1));
	const shown = data.backends.slice(first, first + BACKEND_ROWS);
	const rows = shown.map((backend, i) => {
		const rate = rates.take(key + backend.address, backend.counters || null, clock).rate;
		return [key + backend.address, () => makeBackendRow(backend.address),
			(row) => fillBackendRow(row, backend, rate, i === shown.length - 1)];
	});
	if (data.backends.length > BACKEND_ROWS)
		rows.push([key + 'pager', () => makeBackendPager(data.name), (row) => fillBackendPager(row, first, shown.length, data.backends.length)]);
	return rows;
}

function makeNote() {
	const row = make('tr', 'more last');
	const cell = make('td', 'quiet');
	cell.colSpan = COLUMNS.length;
	row.append(cell);
	return row;
}

function makeBackendPager(name) {
	const row = makeNote();
	const button = (text, step) => {
		const node = make('button', '', text);
		node.type = 'button';
		node.addEventListener('click', () => {
			view.first.set(name, Math.max(0, (view.first.get(name) || 0) + step));
			show();
		});
		return node;
	};
	row.firstChild.append(button('Back', -BACKEND_ROWS), ' ', button('Next', BACKEND_ROWS), ' ', make('span'));
	return row;
}

function fillBackendPager(row, first, n, all) {
	const [back, next] = row.querySelectorAll('button');
	back.disabled = first === 0;
	next.disabled = first + n >= all;
	setText(row.querySelector('span'), 'backends ' + (first + 1) + ' to ' + (first + n) + ' of ' + whole(all));
}

function toggle(name) {
	if (!view.open.delete(name))
		view.open.add(name);
	if (view.open.size > MAX_OPEN)
		view.open.delete(view.open.values().next().value); // the one that was opened first
	show();
	if (last && !last.has_backends && view.open.has(name) && !paused)
		poll();
}

function showServices(clock) {
	const words = view.filter.toLowerCase().split(/\s+/).filter(Boolean);
	const all = last.services.map((service) => measureService(service, clock));
	const found = sorted(all.filter((row) => (!view.bad || row.rank >= 2) && matches(row, words)));
	const pages = Math.max(1, Math.ceil(found.length / SERVICE_ROWS));
	view.page = Math.min(view.page, pages - 1);
	const shown = found.slice(view.page * SERVICE_ROWS, (view.page + 1) * SERVICE_ROWS);
	const rows = [];
	for (const data of shown) {
		rows.push(['s ' + data.name, () => makeServiceRow(data.name), (row) => fillServiceRow(row, data)]);
		if (view.open.has(data.name))
			rows.push(...backendRows(data, data.backends && data.backends.clock || clock));
	}
	reconcile($('services').tBodies[0], rows);
	setText($('found'), found.length === all.length ? whole(all.length) : whole(found.length) + ' of ' + whole(all.length));
	$('pager').hidden = pages === 1;
	$('back').disabled = view.page === 0;
	$('next').disabled = view.page === pages - 1;
	setText($('next'), 'Next (page ' + (view.page + 1) + ' of ' + pages + ')');
	for (const column of COLUMNS) {
		if (column.key === view.sort)
			column.head.setAttribute('aria-sort', view.down ? 'descending' : 'ascending');
		else
			column.head.removeAttribute('aria-sort');
	}
	$('sort').value = view.sort;
	return all;
}

// ---- the balancer itself

function tile(key, title, value, note, trend, bad) {
	return [key, () => {
		const node = make('div');
		node.append(make('dt', '', title), make('dd'), make('dd', 'note'));
		if (trend)
			node.append(drawing());
		return node;
	}, (node) => {
		const [name, figure, words, svg] = node.children;
		setText(name, title);
		setText(figure, value);
		setText(words, note);
		setClass(node, bad ? 'bad' : '');
		if (svg)
			draw(svg, trend);
	}];
}

// The verdicts that are drops, with their rates: those that are dropping now first.
function drops(rate) {
	const all = Object.entries(rate).filter(([name]) => name.startsWith('drop_'));
	const now = all.filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]);
	return {total: all.length && all.every(([, value]) => value !== null) ? all.reduce((total, [, value]) => total + value, 0) : null, now};
}

function showTiles(clock) {
	const {status, counters} = last;
	const verdicts = rates.take('verdicts', counters && counters.verdicts, clock, (rate) => drops(rate).total);
	const events = rates.take('events', counters && counters.events, clock);
	const keep = (key, value) => rates.take('tile ' + key, {value: 0}, clock, () => orNull(value)).trend;
	const {rate} = events;
	const dropped = drops(verdicts.rate);
	const fill = status.flows_capacity ? status.flows / status.flows_capacity : 0;
	const health = status.health;
	const busy = rate.loops > 0 ? rate.busy_loops / rate.loops : null;
	const known = status.connected;
	const tiles = [
		tile('packets', 'Packets/s', short(rate.rx), known ? short(rate.tx) + ' sent' : '', keep('rx', rate.rx)),
		tile('bits', 'Received bit/s', bits(rate.rx_bytes), known ? bits(rate.tx_bytes) + ' sent' : '', keep('bits', rate.rx_bytes)),
		tile('new', 'New flows/s', short(rate.flow_created), known ? short(rate.flow_ended) + ' ended' : '', keep('new', rate.flow_created)),
		tile('drops', 'Drops/s', short(dropped.total), known && rate.rx > 0 ? (dropped.total / rate.rx * 100).toFixed(2) + ' % of packets' : '', verdicts.trend),
		tile('flows', 'Flows', known ? whole(status.flows) : '–', known ? (fill * 100).toFixed(fill < 0.1 ? 2 : 0) + ' % of the table' : '', keep('flows', status.flows), fill > 0.8),
		tile('backends', 'Backends', whole(status.backends), health.backends ? (health.down ? health.down + ' DOWN, ' : '') + health.up + ' up' : 'none is checked', null, health.down > 0),
	];
	if (busy !== null)
		tiles.push(tile('busy', 'Busy turns', (busy * 100).toFixed(1) + ' %', 'of ' + count(status.workers.filter((worker) => worker.state === 'running').length, 'worker'), keep('busy', busy)));
	reconcile($('tiles'), tiles);
	$('dropping').hidden = dropped.now.length === 0;
	setText($('dropping'), 'Dropped now, a second: ' + dropped.now.slice(0, 6).map(([name, value]) => name + ' ' + short(value)).join(', '));
}

function fillRow(tag) {
	return [() => make('tr'), (row, cells) => {
		cells.forEach(([text, number], i) => {
			if (!row.children[i])
				row.append(make(tag, number ? 'number' : ''));
			setText(row.children[i], text);
		});
	}];
}

function showList(table, titles, rows) {
	const [makeRow, fill] = fillRow('td');
	const [makeHead, fillHead] = fillRow('th');
	reconcile(table.tHead, [['head', makeHead, (row) => fillHead(row, titles)]]);
	reconcile(table.tBodies[0], rows.map((cells, i) => [i + ' ' + cells[0][0], makeRow, (row) => fill(row, cells)]));
	table.hidden = rows.length === 0;
}

function showLists(clock) {
	if (!$('below').open)
		return;
	const {workers, ports} = last.status;
	showList($('workers'), [['Worker'], ['Core', true], ['State'], ['Flows', true], ['Busy turns', true], ['Longest turn, us', true]],
		workers.map((worker, i) => {
			const {rate} = rates.take('worker ' + i, {loops: worker.loops, busy: worker.busy_loops}, clock);
			const busy = rate.loops > 0 ? (rate.busy / rate.loops * 100).toFixed(1) + ' %' : '–';
			return [[String(i)], [String(worker.core), true], [worker.state], [whole(worker.flows), true], [busy, true], [whole(worker.longest_loop_us), true]];
		}));
	showList($('ports'), [['Port'], ['Driver'], ['Link'], ['Received/s', true], ['Sent/s', true], ['Missed', true], ['No buffer', true], ['Errors', true]],
		ports.map((port) => {
			const {rate} = rates.take('port ' + port.name, {rx: port.rx_packets, tx: port.tx_packets}, clock);
			return [[port.name], [port.driver], [port.up ? 'up' : 'DOWN'], [short(rate.rx), true], [short(rate.tx), true], [whole(port.rx_missed), true], [whole(port.rx_nombuf), true], [whole(port.tx_errors), true]];
		}));
}

function showFacts() {
	const {host, status} = last;
	const facts = [['engine', status.engine || 'none'], ['generation', String(status.generation)], ['version', status.version], ['sluiced up', span(status.uptime_seconds)]];
	if (status.connected)
		facts.splice(1, 0, ['state', status.in_step ? 'in step' : 'NOT IN STEP'], ['dataplane up', span(status.dataplane_uptime_seconds)]);
	setText($('host'), host || 'Sluice');
	reconcile($('facts'), facts.map(([name, value]) => [name, () => {
		const node = make('span', '', name + ' ');
		node.append(make('b'));
		return node;
	}, (node) => setText(node.lastChild, value)]));
	setText(document.querySelector('title'), (status.health.down ? status.health.down + ' down · ' : '') + (host ? host + ' · ' : '') + 'Sluice');
}

// [kind, words, words that change by the second] of all that the reader must know.
function notices() {
	const list = [];
	const seconds = (performance.now() - shownAt) / 1000;
	if (failure && last)
		list.push(['bad', 'No news from sluiced: ' + failure + '. Packets may still be balanced.', ' These figures are ' + span(seconds) + ' old.']);
	else if (failure)
		list.push(['bad', 'No answer from sluiced yet: ' + failure + '.']);
	if (!last)
		return list;
	const {status} = last;
	if (!status.connected)
		list.push(['bad', 'No dataplane is connected' + (status.reason ? ': ' + status.reason : '') + '.']);
	else if (!status.in_step)
		list.push(['care', 'The dataplane does not hold what it shall' + (status.reason ? ': ' + status.reason : '') + '.']);
	if (status.health.panics)
		list.push(['bad', count(status.health.panics, 'service') + ' in panic: too few backends are up, so that all are used.']);
	for (const port of status.ports)
		if (!port.up)
			list.push(['care', 'Port ' + port.name + ' has no link.']);
	for (const [i, worker] of status.workers.entries())
		if (worker.heartbeat_age_ms > 2000)
			list.push(['bad', 'Worker ' + i + ' has not turned for ' + span(worker.heartbeat_age_ms / 1000) + '.']);
	return list;
}

function showAge() {
	const seconds = (performance.now() - shownAt) / 1000;
	const list = notices();
	reconcile($('notices'), list.map(([kind, text, age], i) => [kind + i, () => make('p', kind), (node) => setText(node, text + (age || ''))]));
	setText($('said'), list.map(([, text]) => text).join(' ')); // what a screen reader says, and not each second
	document.body.classList.toggle('stale', failure !== '' && last !== null);
	setText($('age'), !last ? 'asking' : paused ? 'paused, ' + span(seconds) + ' old' : failure ? span(seconds) + ' old' : 'live');
}

function show() {
	if (last) {
		showFacts();
		showTiles(last.clock_us);
		showServices(last.clock_us);
		showLists(last.clock_us);
	}
	showAge();
}

// ---- asking

async function ask(path) {
	const answer = await fetch(path, {cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(TIMEOUT_MS)});
	if (!answer.ok)
		throw new Error('HTTP status ' + answer.status);
	return answer.json();
}

// Backends of the services that are open, where the document has none.
async function askBackends(document_) {
	const found = new Map();
	if (document_.has_backends)
		return found;
	for (const service of document_.services) {
		if (!view.open.has(service.name) || service.mode === 'snat')
			continue;
		try {
			const answer = await ask('backends.json?service=' + encodeURIComponent(service.name));
			answer.backends.clock = answer.clock_us;
			found.set(service.name, answer.backends);
		} catch (error) {
			found.set(service.name, backendsOf.get(service.name)); // deleted meanwhile, or too many are asked for
		}
	}
	return found;
}

// Begins the page's life: few backends are all shown.
function openAtFirst(document_) {
	if (document_.has_backends && document_.status.backends <= OPEN_AT_FIRST)
		for (const service of document_.services.slice(0, MAX_OPEN))
			if (service.mode !== 'snat')
				view.open.add(service.name);
}

function take(document_, backends) {
	if (!last)
		openAtFirst(document_);
	else if (document_.status.dataplane_uptime_seconds < last.status.dataplane_uptime_seconds)
		rates.forget(); // it counts anew
	last = document_;
	backendsOf = backends;
	shownAt = performance.now();
	failure = '';
	rates.prune();
}

async function poll() {
	clearTimeout(timer);
	if (polling)
		return;
	polling = true;
	const start = performance.now();
	try {
		const document_ = await ask('status.json');
		take(document_, await askBackends(document_));
	} catch (error) {
		failure = error.name === 'TimeoutError' ? 'no answer within ' + TIMEOUT_MS / 1000 + ' s' :
			error instanceof TypeError ? 'it cannot be reached' : error.message;
	}
	polling = false;
	show();
	clearTimeout(timer);
	// What takes long to make and to carry is asked for less often.
	if (!paused && !document.hidden)
		timer = setTimeout(poll, Math.max(POLL_MS, 10 * (performance.now() - start)));
}

function setPaused(value) {
	paused = value;
	$('pause').setAttribute('aria-pressed', String(paused));
	setText($('pause'), paused ? 'Go on' : 'Pause');
	clearTimeout(timer);
	if (paused)
		showAge();
	else
		poll();
}

// ---- what the reader does

function sortBy(column) {
	view.down = view.sort === column.key ? !view.down : column.falls === true;
	view.sort = column.key;
	view.page = 0;
	show();
}

function makeHead() {
	for (const column of COLUMNS) {
		column.head = make('th', column.style);
		column.head.scope = 'col';
		$('services').tHead.rows[0].append(column.head);
		if (!column.value) {
			column.head.textContent = column.title;
			continue;
		}
		const button = make('button', '', column.title);
		button.type = 'button';
		button.addEventListener('click', () => sortBy(column));
		column.head.append(button);
		const option = make('option', '', column.title);
		option.value = column.key;
		$('sort').append(option);
	}
}

// Up and down go from service to service.
function moveFocus(event) {
	if ((event.key !== 'ArrowDown' && event.key !== 'ArrowUp') || !event.target.classList.contains('toggle'))
		return;
	const toggles = [...document.querySelectorAll('button.toggle')];
	const next = toggles[toggles.indexOf(event.target) + (event.key === 'ArrowDown' ? 1 : -1)];
	if (next)
		next.focus();
	event.preventDefault();
}

function onKey(event) {
	const isWriting = event.target.id === 'filter';
	if (event.key === 'Escape' && isWriting) {
		$('filter').value = view.filter = '';
		$('filter').blur();
		show();
	} else if (event.ctrlKey || event.altKey || event.metaKey || isWriting) {
		return;
	} else if (event.key === '/') {
		$('filter').focus();
		event.preventDefault();
	} else if (event.key === 'p') {
		setPaused(!paused);
	} else {
		moveFocus(event);
	}
}

function turnPage(step) {
	view.page = Math.max(0, view.page + step);
	show();
}

function begin() {
	makeHead();
	$('filter').addEventListener('input', () => {
		view.filter = $('filter').value;
		view.page = 0;
		show();
	});
	$('bad').addEventListener('change', () => {
		view.bad = $('bad').checked;
		view.page = 0;
		show();
	});
	$('sort').addEventListener('change', () => sortBy(COLUMNS.find((column) => column.key === $('sort').value)));
	$('back').addEventListener('click', () => turnPage(-1));
	$('next').addEventListener('click', () => turnPage(1));
	$('pause').addEventListener('click', () => setPaused(!paused));
	$('below').addEventListener('toggle', show);
	document.addEventListener('keydown', onKey);
	document.addEventListener('visibilitychange', () => {
		clearTimeout(timer);
		if (!document.hidden && !paused)
			poll();
	});
	setInterval(() => document.hidden || showAge(), 1000);
	poll();
}

begin();
