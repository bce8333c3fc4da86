/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* control/daemon/journal.c: what is appended is there again, whatever happens to the files. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/daemon/desired.h"
#include "control/daemon/journal.h"
#include "control/daemon/state.h"
#include "tests/unit/random.h"

enum {
	N_NAMES = 6,
	PREFIX = N_NAMES - 1, /* of mode snat, with denies and without backends */
	N_BACKENDS = 20,
	N_CHANGES = 150,
};

static char dir[64];

static void make_dir(void)
{
	strcpy(dir, "/tmp/sluice-journal-XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void remove_dir(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	(void)!system(command);
}

static const char *path_of(const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/** A daemon's part of the matter. */
struct keeper {
	struct state state;
	struct journal journal;
};

static void add_service(struct desired *desired, uint32_t number)
{
	struct wire_address address = {
		.addr.word = {sl_to_be32(0xcb007100 + number)},
		.port = SL_BE16(80),
		.protocol = SL_PROTOCOL_TCP,
		.family = SL_FAMILY_IPV4,
	};
	const struct wire_address prefix = {
		.addr.word = {SL_BE32(0x0a000000)},
		.port = SL_BE16(8),
		.family = SL_FAMILY_IPV4,
	};
	struct rpc_error error;
	char name[16];

	(void)snprintf(name, sizeof(name), "service%u", number);
	if (number == PREFIX)
		address = prefix;
	cr_assert_eq(desired_add(desired, desired_service_new(name, &address, DESIRED_OWNER_API),
				 &error),
		     RPC_OK);
}

static void deny_some(struct desired_service *service, uint32_t n)
{
	struct wire_listed *deny = calloc(n + 1, sizeof(*deny));

	for (uint32_t i = 0; i < n; i++) {
		deny[i].addr.word[0] = sl_to_be32(0x0a000000 + (i << 8));
		deny[i].length = 24;
		deny[i].list = WIRE_DENY_SOURCE;
		deny[i].family = SL_FAMILY_IPV4;
	}
	desired_service_list(service, deny, n);
}

/* One change of some kind, of a service that may have to be made for it. */
static void change_something(struct desired *desired, struct random *random)
{
	uint64_t draw = random_next(random) >> 16;
	struct desired_backend backend = {
		.wire.addr.word = {sl_to_be32(0x0a000000 + (uint32_t)(draw >> 8) % N_BACKENDS)},
		.wire.port = SL_BE16(8080),
		.wire.state = draw & 1 ? WIRE_STATE_READY : WIRE_STATE_DRAIN,
		.wire.weight = (uint32_t)(draw >> 1) % 100,
		.part.role = (uint8_t)((draw >> 40) % SHARE_N_ROLES),
		.part.group = {draw >> 45 & 1 ? 'v' : '\0'},
	};
	uint32_t number = (uint32_t)(draw >> 20) % N_NAMES;
	struct desired_service *service;
	struct rpc_error error;
	char name[16];

	(void)snprintf(name, sizeof(name), "service%u", number);
	if (!desired_find(desired, name)) {
		add_service(desired, number);
	} else if ((draw >> 32 & 3) && number != PREFIX) {
		if (desired_set_backend(desired, name, &backend, &error))
			cr_assert_eq(desired_add_backend(desired, name, &backend, &error), RPC_OK);
		else if (draw >> 34 & 1)
			cr_assert_eq(desired_delete_backend(desired, name, &backend.wire.addr,
							    backend.wire.port, &error),
				     RPC_OK);
	} else if (draw >> 34 & 3) {
		cr_assert_eq(desired_edit(desired, name, &service, &error), RPC_OK);
		if (number != PREFIX && (draw >> 46 & 1)) { /* of which no dataplane hears */
			health_check_init(&service->check);
			service->check.type = HEALTH_CHECK_TCP;
			service->check.rise = 1 + (uint32_t)(draw >> 36) % 255;
			health_check_settle(&service->check);
			service->canary = (struct share_canary){
				.share = (uint32_t)(draw >> 36) % SHARE_WHOLE, .group = "v"};
			return;
		}
		service->wire.timeout_udp_sec = 1 + (uint32_t)(draw >> 36) % 1000;
		if (number == PREFIX)
			deny_some(service, (uint32_t)(draw >> 36) % 4);
	} else {
		cr_assert_eq(desired_delete(desired, name, &error), RPC_OK);
	}
}

/* Takes the state's next one over, as the daemon does, once it is on disk. */
static int keep(struct keeper *keeper, struct desired *next, char *error)
{
	struct state state = keeper->state;
	bool is_new;
	int status;

	state.desired = next;
	state.generation++;
	state.hash_key.word[1] = state.generation;
	state.file_digest = state.generation * 3;
	status = journal_append(dir, &keeper->journal, keeper->state.desired, &state, &is_new,
				error);
	if (status) {
		desired_free(next);
		return status;
	}
	desired_free(keeper->state.desired);
	keeper->state = state;
	return 0;
}

static void keep_change(struct keeper *keeper, struct random *random)
{
	struct desired *next = desired_clone(keeper->state.desired);
	char error[STATE_MAX_ERROR];

	change_something(next, random);
	cr_assert_eq(keep(keeper, next, error), 0, "%s", error);
}

static void save_whole(struct keeper *keeper)
{
	char error[STATE_MAX_ERROR];
	bool is_new;

	cr_assert_eq(state_save(dir, &keeper->state, &keeper->journal, &is_new, error), 0, "%s",
		     error);
}

static void begin(struct keeper *keeper)
{
	*keeper = (struct keeper){.state = {.generation = 10, .desired = desired_new()}};
	cr_assert_eq(desired_set_file(keeper->state.desired, "/etc/sluice/sluice.yaml"), 0);
	save_whole(keeper);
}

static void end(struct keeper *keeper)
{
	desired_free(keeper->state.desired);
}

static void expect_same_shares(const struct desired_service *a, const struct desired_service *b)
{
	cr_expect_arr_eq(&a->canary, &b->canary, sizeof(a->canary));
	cr_assert_eq(a->n_backends, b->n_backends);
	for (uint32_t i = 0; i < a->n_backends; i++)
		cr_expect_arr_eq(&a->backend[i].part, &b->backend[i].part,
				 sizeof(a->backend[i].part));
}

/* The disk says what @keeper does; and @note is empty, or has @word in it. */
static void expect_kept(const struct keeper *keeper, const char *word)
{
	struct journal journal;
	struct state state;
	char note[STATE_MAX_ERROR];

	cr_assert_eq(state_load(dir, &state, &journal, note), 0, "%s", note);
	if (word)
		cr_expect(strstr(note, word), "%s", note);
	else
		cr_expect_str_empty(note, "%s", note);
	cr_expect_eq(state.generation, keeper->state.generation);
	cr_expect_eq(state.file_digest, keeper->state.file_digest);
	cr_expect_str_eq(state.desired->file, keeper->state.desired->file);
	cr_expect_eq(state.desired->n_services, keeper->state.desired->n_services);
	cr_expect_eq(desired_digest(state.desired, &state.hash_key),
		     desired_digest(keeper->state.desired, &keeper->state.hash_key));
	for (size_t i = 0; i < state.desired->n_services; i++)
		cr_expect_arr_eq(&state.desired->service[i]->check,
				 &keeper->state.desired->service[i]->check,
				 sizeof(struct health_check));
	for (size_t i = 0; i < state.desired->n_services; i++)
		expect_same_shares(state.desired->service[i], keeper->state.desired->service[i]);
	for (size_t i = 0; i < state.desired->n_services; i++)
		cr_expect_eq(state.desired->service[i]->owner,
			     keeper->state.desired->service[i]->owner);
	desired_free(state.desired);
}

Test(journal, what_is_appended_is_loaded, .init = make_dir, .fini = remove_dir, .timeout = 60)
{
	struct random random = random_seeded();
	struct keeper keeper;

	begin(&keeper);
	for (int i = 0; i < N_CHANGES; i++) {
		keep_change(&keeper, &random);
		if (i == N_CHANGES / 2)
			save_whole(&keeper);
		if (i % 5 == 0)
			expect_kept(&keeper, NULL);
	}
	expect_kept(&keeper, NULL);
	end(&keeper);
}

Test(journal, a_process_goes_on_where_the_last_one_was, .init = make_dir, .fini = remove_dir)
{
	struct random random = random_seeded();
	struct keeper keeper;
	struct stat file;
	char note[STATE_MAX_ERROR];

	begin(&keeper);
	for (int i = 0; i < 10; i++) {
		keep_change(&keeper, &random);
		end(&keeper);
		cr_assert_eq(state_load(dir, &keeper.state, &keeper.journal, note), 0, "%s", note);
		cr_assert(keeper.journal.is_open);
		cr_assert_eq(stat(path_of("state.journal"), &file), 0);
		cr_assert_eq(file.st_size, keeper.journal.length);
	}
	expect_kept(&keeper, NULL);
	cr_expect_eq(file.st_mode & 0777, 0600);
	end(&keeper);
}

static char *read_file(const char *name, size_t *length)
{
	FILE *file = fopen(path_of(name), "re");
	char *text = calloc(1, 1 << 20);

	cr_assert(file && text);
	*length = fread(text, 1, (1 << 20) - 1, file);
	(void)fclose(file);
	return text;
}

static void write_file(const char *name, const char *text, size_t length)
{
	FILE *file = fopen(path_of(name), "we");

	cr_assert(file && fwrite(text, 1, length, file) == length);
	cr_assert_eq(fclose(file), 0);
}

static size_t count_lines(const char *text, size_t length)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++)
		n += text[i] == '\n';
	return n;
}

/* Of generation 10 and the changes in the whole lines, of which the first is the head. */
static uint64_t generation_after(size_t n_lines)
{
	return n_lines > 0 ? 10 + n_lines - 1 : 10;
}

Test(journal, what_is_cut_off_at_any_byte_does_not_count, .init = make_dir, .fini = remove_dir,
     .timeout = 60)
{
	struct random random = random_seeded();
	struct keeper keeper;
	size_t length;
	char *text;

	begin(&keeper);
	for (int i = 0; i < 6; i++)
		keep_change(&keeper, &random);
	text = read_file("state.journal", &length);
	for (size_t cut = 0; cut < length; cut++) {
		struct journal journal;
		struct state state;
		char note[STATE_MAX_ERROR];

		write_file("state.journal", text, cut);
		cr_assert_eq(state_load(dir, &state, &journal, note), 0, "%zu: %s", cut, note);
		cr_assert_str_empty(note, "%zu: %s", cut, note);
		cr_assert_eq(state.generation, generation_after(count_lines(text, cut)), "%zu",
			     cut);
		desired_free(state.desired);
	}
	free(text);
	end(&keeper);
}

Test(journal, a_changed_byte_is_seen_and_all_before_it_is_kept, .init = make_dir,
     .fini = remove_dir, .timeout = 60)
{
	struct random random = random_seeded();
	struct keeper keeper;
	size_t length;
	char *text;

	begin(&keeper);
	for (int i = 0; i < 6; i++)
		keep_change(&keeper, &random);
	text = read_file("state.journal", &length);
	for (size_t at = 0; at < length - 1; at++) {
		char was = text[at];
		struct journal journal;
		struct state state;
		char note[STATE_MAX_ERROR];

		text[at] = (char)(was ^ 0x10);
		if (was == '\n' || text[at] == '\n') {
			text[at] = was;
			continue;
		}
		write_file("state.journal", text, length);
		text[at] = was;
		cr_assert_eq(state_load(dir, &state, &journal, note), 0, "%zu: %s", at, note);
		cr_assert(strstr(note, "damaged") && strstr(note, dir), "%zu: %s", at, note);
		cr_assert_eq(state.generation, generation_after(count_lines(text, at)), "%zu", at);
		cr_assert_not(journal.is_open, "the caller saves whole");
		cr_assert_eq(access(path_of("state.journal.damaged"), F_OK), 0);
		desired_free(state.desired);
	}
	free(text);
	end(&keeper);
}

Test(journal, nothing_is_lost_with_state_json, .init = make_dir, .fini = remove_dir)
{
	struct random random = random_seeded();
	struct keeper keeper;

	begin(&keeper);
	for (int i = 0; i < 5; i++)
		keep_change(&keeper, &random);
	cr_assert_eq(truncate(path_of("state.json"), 30), 0);
	expect_kept(&keeper, "damaged");
	save_whole(&keeper);
	for (int i = 0; i < 5; i++)
		keep_change(&keeper, &random);
	cr_assert_eq(unlink(path_of("state.json")), 0);
	expect_kept(&keeper, "missing");
	end(&keeper);
}

/* Two whole states, a journal between them and one behind: damage to the second costs nothing. */
Test(journal, both_journals_lead_on_from_the_last_good_state, .init = make_dir, .fini = remove_dir)
{
	struct random random = random_seeded();
	struct keeper keeper;

	begin(&keeper);
	for (int i = 0; i < 4; i++)
		keep_change(&keeper, &random);
	save_whole(&keeper);
	expect_kept(&keeper, NULL);
	for (int i = 0; i < 4; i++)
		keep_change(&keeper, &random);
	expect_kept(&keeper, NULL);
	cr_assert_eq(truncate(path_of("state.json"), 5), 0);
	expect_kept(&keeper, "with the changes since");
	end(&keeper);
}

/* A kill between two steps of saving whole: the journal has its second name, state.json is the old one. */
Test(journal, a_save_that_stopped_half_way_loses_nothing, .init = make_dir, .fini = remove_dir)
{
	struct random random = random_seeded();
	struct keeper keeper;
	char from[128];
	char error[STATE_MAX_ERROR];

	begin(&keeper);
	for (int i = 0; i < 4; i++)
		keep_change(&keeper, &random);
	(void)strcpy(from, path_of("state.journal"));
	cr_assert_eq(rename(from, path_of("state.journal.last-good")), 0);
	expect_kept(&keeper, NULL);
	cr_expect_eq(keep(&keeper, desired_clone(keeper.state.desired), error), -ESTALE,
		     "nothing is appended to what is not there");
	end(&keeper);
}

Test(journal, a_journal_of_another_state_is_let_be, .init = make_dir, .fini = remove_dir)
{
	struct random random = random_seeded();
	struct keeper keeper;
	size_t length;
	char *text;

	begin(&keeper);
	for (int i = 0; i < 4; i++)
		keep_change(&keeper, &random);
	text = read_file("state.journal", &length);
	save_whole(&keeper);
	write_file("state.journal", text, length);
	expect_kept(&keeper, NULL);
	keep_change(&keeper, &random);
	expect_kept(&keeper, NULL);
	free(text);
	end(&keeper);
}

Test(journal, who_writes_there_too_is_seen, .init = make_dir, .fini = remove_dir)
{
	struct random random = random_seeded();
	char error[STATE_MAX_ERROR];
	struct keeper keeper;

	begin(&keeper);
	keep_change(&keeper, &random);
	cr_assert_eq(truncate(path_of("state.journal"), keeper.journal.length + 1), 0);
	cr_expect_eq(keep(&keeper, desired_clone(keeper.state.desired), error), -ESTALE);
	cr_assert_eq(unlink(path_of("state.journal")), 0);
	cr_expect_eq(keep(&keeper, desired_clone(keeper.state.desired), error), -ESTALE);
	end(&keeper);
}

Test(journal, a_large_change_is_left_to_the_whole_state, .init = make_dir, .fini = remove_dir)
{
	struct desired *next;
	char error[STATE_MAX_ERROR];
	struct rpc_error reason;
	struct keeper keeper;

	begin(&keeper);
	next = desired_clone(keeper.state.desired);
	for (uint32_t i = 0; i < 5; i++) {
		struct desired_backend *backend =
			calloc(SL_MAX_BACKENDS_PER_SERVICE, sizeof(*backend));
		struct desired_service *service;
		char name[16];

		(void)snprintf(name, sizeof(name), "service%u", i);
		add_service(next, i);
		cr_assert_eq(desired_edit(next, name, &service, &reason), RPC_OK);
		for (uint32_t k = 0; k < SL_MAX_BACKENDS_PER_SERVICE; k++)
			backend[k].wire = (struct wire_backend){.service = service->wire.address,
								.addr.word = {sl_to_be32(k)},
								.state = WIRE_STATE_READY};
		desired_service_fill(service, backend, SL_MAX_BACKENDS_PER_SERVICE);
	}
	cr_expect_eq(keep(&keeper, next, error), -E2BIG);
	expect_kept(&keeper, NULL);
	end(&keeper);
}

/* A disk that takes half a line: the change is refused, and the next one finds the file as it was. */
Test(journal, a_full_disk_leaves_whole_lines, .init = make_dir, .fini = remove_dir)
{
	struct random random = random_seeded();
	char error[STATE_MAX_ERROR];
	struct rlimit limit, former;
	struct keeper keeper;

	begin(&keeper);
	keep_change(&keeper, &random);
	keep_change(&keeper, &random);
	(void)signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &former), 0);
	limit = former;
	limit.rlim_cur = (rlim_t)keeper.journal.length + 40;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_expect_eq(keep(&keeper, desired_clone(keeper.state.desired), error), -EFBIG);
	cr_expect(strstr(error, dir) && strstr(error, "write"), "%s", error);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &former), 0);
	expect_kept(&keeper, NULL);
	keep_change(&keeper, &random);
	expect_kept(&keeper, NULL);
	end(&keeper);
}

/* A child changes and saves for ever and is killed at some moment. */
Test(journal, a_kill_at_any_moment_leaves_the_last_change, .init = make_dir, .fini = remove_dir,
     .timeout = 60)
{
	struct random random = random_seeded();
	struct keeper keeper;
	uint64_t last = 10;
	unsigned slower =
		1; /* this host than one where a child gets somewhere in the shortest time */

	begin(&keeper);
	for (unsigned round = 0; round < 60; round++) {
		struct journal journal;
		char note[STATE_MAX_ERROR];
		pid_t child = fork();

		if (child == 0)
			for (unsigned i = 0;; i++) {
				if (!keeper.journal.is_open || i % 7 == 6)
					save_whole(&keeper);
				else
					keep_change(&keeper, &random);
			}
		(void)usleep((500 + round * 333) * slower);
		cr_assert_eq(kill(child, SIGKILL), 0);
		cr_assert_eq(waitpid(child, NULL, 0), child);
		end(&keeper);
		cr_assert_eq(state_load(dir, &keeper.state, &journal, note), 0, "round %u: %s",
			     round, note);
		cr_assert_str_empty(note, "round %u: %s", round, note);
		keeper.journal = journal;
		/* What is cut off is seen when something is to be appended. */
		if (journal.is_open && journal.length > 0 &&
		    keep(&keeper, desired_clone(keeper.state.desired), note) == -ESTALE)
			keeper.journal.is_open = false;
		cr_assert_geq(keeper.state.generation, last, "round %u", round);
		if (keeper.state.generation == last && slower < 16)
			slower *= 2;
		last = keeper.state.generation;
		(void)random_next(&random);
	}
	cr_assert(last > 60, "the children got nowhere");
	end(&keeper);
}
