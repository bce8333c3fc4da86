/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The screen of `sluice top`, by ncurses, which draws what has changed alone. Signals that end it are read from
 * a descriptor, and reach us again once the terminal is as it was.
 */
#include <ctype.h>
#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "control/cli/call.h"
#include "control/cli/commands.h"
#include "control/cli/top_internal.h"

enum {
	KEY_ESCAPE = 27,
	KEY_RUBOUT = 127,
	LINE_SIZE = 512,
	HEAD_LINES = 3,
	FOOT_LINES = 1,
	NAME_WIDTH = 24,
	ADDRESS_WIDTH = 26,
	NUMBER_WIDTH = 9,
};

struct screen {
	struct top *top;
	struct top_rows *rows; /* NULL: nothing was seen yet */
	json_t *status;        /* of sluiced; NULL: it does not answer */
	int signals;           /* descriptor */
	bool is_typing;        /* the filter */
	bool is_over;
	int signal; /* that ended it; 0: a key did */
	size_t selected, first;
	char problem[LINE_SIZE]; /* why there is no answer; "": there is one */
};

/* Asking */

static void sample(struct screen *screen)
{
	struct top *top = screen->top;
	struct top_rows *rows;
	json_t *status = NULL;
	int code = top_sample(top, &rows);

	if (!code)
		code = call_silently(top->path, top->timeout_sec, "status", NULL, &status,
				     top->error);
	(void)snprintf(screen->problem, sizeof(screen->problem), "%.400s",
		       code ? top->error->message : "");
	if (rows) {
		top_rows_free(screen->rows);
		screen->rows = rows;
	}
	json_decref(screen->status);
	screen->status = status;
}

/* What is asked next is of something else. */
static void change_view(struct screen *screen, enum top_view view)
{
	struct top *top = screen->top;

	top->view = view;
	top->filter[0] = '\0';
	top_forget(top);
	top_rows_free(screen->rows);
	screen->rows = NULL;
	screen->selected = screen->first = 0;
	if (!top_column_is_of(top->sort, view))
		top->sort = TOP_PACKETS_IN;
	sample(screen);
}

/* Drawing */

/* One line of the screen, whatever is in @text: what is not printable is shown as '?'. */
static void put(int y, const char *text, int attributes)
{
	char line[LINE_SIZE];
	size_t n = 0;

	for (; text[n] && n + 1 < sizeof(line) && n < (size_t)COLS; n++)
		line[n] = isprint((unsigned char)text[n]) ? text[n] : '?';
	line[n] = '\0';
	(void)attrset(attributes);
	(void)mvaddstr(y, 0, line);
	if (attributes == A_REVERSE)
		for (; n < (size_t)COLS; n++)
			(void)addch(' ');
	(void)attrset(A_NORMAL);
}

static json_int_t number_of(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static void draw_head(const struct screen *screen)
{
	const struct top *top = screen->top;
	const char *engine = json_string_value(json_object_get(screen->status, "engine"));
	char line[LINE_SIZE], flows[16], capacity[16];

	if (screen->problem[0])
		(void)snprintf(line, sizeof(line), "sluice top: waiting: %.400s", screen->problem);
	else
		(void)snprintf(
			line, sizeof(line),
			"sluice top: %s, %s, %s of %s flows, generation %" JSON_INTEGER_FORMAT,
			engine ? engine : "no dataplane",
			json_is_true(json_object_get(screen->status, "in_step")) ? "in step"
										 : "not in step",
			top_number((double)number_of(screen->status, "flows"), flows,
				   sizeof(flows)),
			top_number((double)number_of(screen->status, "flows_capacity"), capacity,
				   sizeof(capacity)),
			number_of(screen->status, "generation"));
	put(0, line, screen->problem[0] ? A_BOLD : A_NORMAL);
	(void)snprintf(line, sizeof(line), "%s%s, %zu rows, by %s%s%s%s",
		       top->view == TOP_SERVICES ? "services" : "backends of ",
		       top->view == TOP_SERVICES ? "" : top->service,
		       screen->rows ? screen->rows->n : 0, top_column_word(top->sort),
		       top->is_reverse ? ", reversed" : "", top->filter[0] ? ", with " : "",
		       top->filter);
	put(1, line, A_NORMAL);
}

static void add_columns(char *line, size_t size, const struct screen *screen,
			const struct top_row *row)
{
	const struct top *top = screen->top;

	for (int i = 0; i < TOP_N_COLUMNS; i++) {
		enum top_column column = (enum top_column)i;
		size_t used = strlen(line);
		char text[32];

		if (!top_column_is_of(column, top->view))
			continue;
		if (row)
			(void)top_number(row->value[i], text, sizeof(text));
		else
			(void)snprintf(text, sizeof(text), "%s%s", column == top->sort ? "*" : "",
				       top_column_heading(column));
		(void)snprintf(line + used, size - used, "%*s", NUMBER_WIDTH, text);
	}
}

static void draw_headings(const struct screen *screen)
{
	bool is_services = screen->top->view == TOP_SERVICES;
	const char *mark = screen->top->sort == TOP_NAME ? "*" : "";
	char line[LINE_SIZE], name[32];

	(void)snprintf(name, sizeof(name), "%s%s", mark, is_services ? "NAME" : "ADDRESS");
	if (is_services)
		(void)snprintf(line, sizeof(line), "%-*s %-*s %-8s", NAME_WIDTH, name,
			       ADDRESS_WIDTH, "ADDRESS", "HEALTH");
	else
		(void)snprintf(line, sizeof(line), "%-*s %-6s %-9s", ADDRESS_WIDTH, name, "STATE",
			       "HEALTH");
	add_columns(line, sizeof(line), screen, NULL);
	put(2, line, A_REVERSE);
}

static void draw_row(const struct screen *screen, size_t i, int y)
{
	const struct top_row *row = &screen->rows->row[i];
	bool is_services = screen->rows->view == TOP_SERVICES;
	const char *second =
		json_string_value(json_object_get(row->object, is_services ? "address" : "state"));
	char line[LINE_SIZE];

	if (is_services)
		(void)snprintf(line, sizeof(line), "%-*.*s %-*.*s %-8.8s", NAME_WIDTH, NAME_WIDTH,
			       row->name, ADDRESS_WIDTH, ADDRESS_WIDTH, second ? second : "-",
			       row->health);
	else
		(void)snprintf(line, sizeof(line), "%-*.*s %-6.6s %-9.9s", ADDRESS_WIDTH,
			       ADDRESS_WIDTH, row->name, second ? second : "-", row->health);
	add_columns(line, sizeof(line), screen, row);
	put(y, line, i == screen->selected ? A_BOLD | A_UNDERLINE : A_NORMAL);
}

/* Rows that there is room for. */
static size_t n_visible(void)
{
	return LINES > HEAD_LINES + FOOT_LINES ? (size_t)(LINES - HEAD_LINES - FOOT_LINES) : 0;
}

static void keep_selected_visible(struct screen *screen)
{
	size_t n = screen->rows ? screen->rows->n : 0, room = n_visible();

	if (screen->selected >= n)
		screen->selected = n ? n - 1 : 0;
	if (screen->selected < screen->first)
		screen->first = screen->selected;
	if (room && screen->selected >= screen->first + room)
		screen->first = screen->selected - room + 1;
}

static void draw(struct screen *screen)
{
	char line[LINE_SIZE];

	keep_selected_visible(screen);
	(void)erase();
	draw_head(screen);
	draw_headings(screen);
	for (size_t i = 0; screen->rows && i < n_visible(); i++)
		if (screen->first + i < screen->rows->n)
			draw_row(screen, screen->first + i, HEAD_LINES + (int)i);
	if (screen->is_typing)
		(void)snprintf(line, sizeof(line), "/%s", screen->top->filter);
	else
		(void)snprintf(line, sizeof(line),
			       "s services  b backends  < > column  r reverse  / filter  q quit");
	if (LINES > HEAD_LINES)
		put(LINES - 1, line, A_NORMAL);
	(void)refresh();
}

/* Keys */

/* What is shown already, in another order. */
static void order_again(struct screen *screen)
{
	if (screen->rows)
		top_rows_sort(screen->rows, screen->top->sort, screen->top->is_reverse);
}

static void filter_again(struct screen *screen)
{
	if (screen->rows)
		top_rows_filter(screen->rows, screen->top->filter);
	order_again(screen);
}

static void type_filter(struct screen *screen, int key)
{
	char *filter = screen->top->filter;
	size_t n = strlen(filter);

	if (key == '\n' || key == '\r' || key == KEY_ENTER) {
		screen->is_typing = false;
	} else if (key == KEY_ESCAPE) {
		filter[0] = '\0';
		screen->is_typing = false;
	} else if ((key == KEY_BACKSPACE || key == KEY_RUBOUT || key == '\b') && n) {
		filter[n - 1] = '\0';
	} else if (key < 128 && isprint(key) && n + 1 < TOP_MAX_FILTER) {
		filter[n] = (char)key;
		filter[n + 1] = '\0';
	}
	filter_again(screen);
}

static void move_sort(struct screen *screen, int step)
{
	struct top *top = screen->top;
	int column = top->sort;

	do {
		column += step;
		if (column < TOP_NAME)
			column = TOP_N_COLUMNS - 1;
		if (column >= TOP_N_COLUMNS)
			column = TOP_NAME;
	} while (!top_column_is_of((enum top_column)column, top->view));
	top->sort = (enum top_column)column;
	order_again(screen);
}

static void move_selection(struct screen *screen, long by)
{
	size_t n = screen->rows ? screen->rows->n : 0;
	long to = (long)screen->selected + by;

	screen->selected = to < 0 ? 0 : (size_t)to >= n ? (n ? n - 1 : 0) : (size_t)to;
}

static void show_backends(struct screen *screen)
{
	if (screen->top->view != TOP_SERVICES || !screen->rows || screen->rows->n == 0)
		return;
	(void)snprintf(screen->top->service, sizeof(screen->top->service), "%s",
		       screen->rows->row[screen->selected].name);
	change_view(screen, TOP_BACKENDS);
}

static void take_key(struct screen *screen, int key)
{
	switch (key) {
	case 'q':
		screen->is_over = true;
		break;
	case 's':
		change_view(screen, TOP_SERVICES);
		break;
	case 'b':
	case '\n':
	case '\r':
	case KEY_ENTER:
		show_backends(screen);
		break;
	case '<':
	case KEY_LEFT:
		move_sort(screen, -1);
		break;
	case '>':
	case KEY_RIGHT:
		move_sort(screen, 1);
		break;
	case 'r':
		screen->top->is_reverse = !screen->top->is_reverse;
		order_again(screen);
		break;
	case '/':
		screen->is_typing = true;
		break;
	case KEY_UP:
		move_selection(screen, -1);
		break;
	case KEY_DOWN:
		move_selection(screen, 1);
		break;
	case KEY_PPAGE:
		move_selection(screen, -(long)n_visible());
		break;
	case KEY_NPAGE:
		move_selection(screen, (long)n_visible());
		break;
	default: /* KEY_RESIZE among them: it is drawn anew */
		break;
	}
}

static void take_keys(struct screen *screen)
{
	int key = getch();

	for (; key != ERR && !screen->is_over; key = getch())
		if (screen->is_typing && key != KEY_RESIZE)
			type_filter(screen, key);
		else
			take_key(screen, key);
}

/* The loop */

/* Until @due_ms, a key, a signal or another size of the window. */
static void wait_for_something(struct screen *screen, int64_t due_ms)
{
	struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
			       {.fd = screen->signals, .events = POLLIN}};
	int64_t left_ms = due_ms - top_now_ms();
	struct signalfd_siginfo info;
	int n = poll(fds, SL_ARRAY_LEN(fds), left_ms > 0 ? (int)left_ms : 0);

	if (n > 0 && fds[1].revents &&
	    read(screen->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		screen->signal = (int)info.ssi_signo;
		screen->is_over = true;
	} else if (n > 0 && (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL))) {
		screen->is_over = true; /* the terminal has gone */
	}
}

static void run(struct screen *screen)
{
	int64_t due_ms = top_now_ms();

	while (!screen->is_over) {
		if (top_now_ms() >= due_ms) {
			sample(screen);
			due_ms = top_now_ms() + screen->top->interval_ms;
		}
		draw(screen);
		wait_for_something(screen, due_ms);
		if (!screen->is_over)
			take_keys(screen);
	}
}

static int refuse_terminal(struct top *top)
{
	const char *type = getenv("TERM");

	rpc_error_set(top->error, RPC_PARAMS, "TERM",
		      "top: terminal type \"%.64s\" is not known (count N prints snapshots)",
		      type ? type : "");
	return CLI_REFUSED;
}

int top_screen(struct top *top)
{
	static const int endings[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct screen screen = {.top = top};
	sigset_t blocked, before;
	SCREEN *terminal;

	(void)sigemptyset(&blocked);
	for (size_t i = 0; i < SL_ARRAY_LEN(endings); i++)
		(void)sigaddset(&blocked, endings[i]);
	(void)sigprocmask(SIG_BLOCK, &blocked, &before);
	screen.signals = signalfd(-1, &blocked, SFD_CLOEXEC | SFD_NONBLOCK);
	terminal = screen.signals < 0 ? NULL : newterm(NULL, stdout, stdin);
	if (terminal) {
		(void)cbreak();
		(void)noecho();
		(void)nodelay(stdscr, true);
		(void)keypad(stdscr, true);
		(void)set_escdelay(25);
		(void)curs_set(0);
		run(&screen);
		(void)endwin();
		delscreen(terminal);
	}
	if (screen.signals >= 0)
		(void)close(screen.signals);
	top_rows_free(screen.rows);
	json_decref(screen.status);
	if (screen.signal)
		(void)signal(screen.signal, SIG_DFL); /* whoever sent it meant us to end by it */
	if (screen.signal)
		(void)raise(screen.signal);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return terminal ? CLI_DONE : refuse_terminal(top);
}
