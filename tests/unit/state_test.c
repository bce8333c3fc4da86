/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* control/daemon/state.c: what is saved is loaded; damage of any kind is seen and survived. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/daemon/desired.h"
#include "control/daemon/journal.h"
#include "control/daemon/state.h"

static char dir[64];
static struct journal journal;

static void make_dir(void)
{
	strcpy(dir, "/tmp/sluice-state-XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void remove_dir(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	(void)!system(command);
}

static struct state make_state(uint64_t generation, unsigned n_backends)
{
	struct wire_address address = {
		.addr.word = {SL_BE32(0x20010db8), 0, 0, SL_BE32(1)},
		.port = SL_BE16(443),
		.protocol = SL_PROTOCOL_UDP,
		.family = SL_FAMILY_IPV6,
	};
	struct state state = {
		.generation = generation,
		.hash_key = {{0x0123456789abcdefull, generation}},
		.file_digest = 0xfeed,
		.desired = desired_new(),
	};
	struct desired_service *service = desired_service_new("web", &address, DESIRED_OWNER_FILE);
	struct rpc_error error;

	service->wire.timeout_udp_sec = 77;
	cr_assert_eq(desired_set_file(state.desired, "/etc/sluice/\xc3\xa9.yaml"), 0);
	cr_assert_eq(desired_add(state.desired, service, &error), RPC_OK);
	for (unsigned i = 0; i < n_backends; i++) {
		struct desired_backend backend = {
			.wire.addr.word = {SL_BE32(0x20010db8), 0, 0, sl_to_be32(100 + i)},
			.wire.port = SL_BE16(8443),
			.wire.state = WIRE_STATE_DRAIN,
			.wire.weight = i,
		};

		cr_assert_eq(desired_add_backend(state.desired, "web", &backend, &error), RPC_OK);
	}
	return state;
}

static void save(uint64_t generation, unsigned n_backends)
{
	struct state state = make_state(generation, n_backends);
	char error[STATE_MAX_ERROR];
	bool is_new;

	cr_assert_eq(state_save(dir, &state, &journal, &is_new, error), 0, "%s", error);
	desired_free(state.desired);
}

static void damage(const char *name, const char *text, off_t length)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (length >= 0)
		cr_assert_eq(truncate(path, length), 0);
	if (!text)
		return;
	fd = open(path, O_WRONLY);
	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	(void)close(fd);
}

Test(state, what_is_saved_is_loaded, .init = make_dir, .fini = remove_dir)
{
	struct state saved = make_state(42, 300), loaded;
	char note[STATE_MAX_ERROR];
	bool is_new;

	cr_assert_eq(state_save(dir, &saved, &journal, &is_new, note), 0);
	cr_assert_eq(state_load(dir, &loaded, &journal, note), 0, "%s", note);
	cr_assert_eq(loaded.generation, 42);
	cr_assert_eq(loaded.file_digest, 0xfeed);
	cr_assert_str_eq(loaded.desired->file, saved.desired->file);
	cr_assert_eq(loaded.desired->service[0]->owner, DESIRED_OWNER_FILE);
	cr_assert_eq(desired_digest(loaded.desired, &loaded.hash_key),
		     desired_digest(saved.desired, &saved.hash_key));
	desired_free(loaded.desired);
	desired_free(saved.desired);
}

/* What version 1 wrote, which knew no source pools: its digest is of shorter records. */
static const char version_1[] =
	"{\"version\": 1, \"generation\": 3, \"hash_key\": \"e6fdcb4c2c3ada647993203ed5f21ecf\","
	" \"file\": \"/etc/sluice/sluice.yaml\", \"file_digest\": \"00ee31d120fb1a9b\","
	" \"digest\": \"4e9cb81a564f0973\", \"services\": ["
	"{\"name\": \"dns\", \"address\": \"[2001:db8::53]:53/udp\", \"mode\": \"nat\","
	" \"scheduler\": \"maglev\", \"slots\": 1009, \"owner\": \"api\", \"timeouts\":"
	" {\"established\": 7440, \"transitory\": 240, \"embryonic\": 10, \"udp\": 300},"
	" \"backends\": [{\"address\": \"[2001:db8:1::2]:5353\", \"weight\": 3, \"state\":"
	" \"drain\"}]},"
	"{\"name\": \"web\", \"address\": \"203.0.113.10:80/tcp\", \"mode\": \"nat\","
	" \"scheduler\": \"maglev\", \"slots\": 65537, \"owner\": \"file\", \"timeouts\":"
	" {\"established\": 7440, \"transitory\": 240, \"embryonic\": 7, \"udp\": 300},"
	" \"backends\": [{\"address\": \"10.0.0.2:8080\", \"weight\": 1, \"state\":"
	" \"ready\"}]}]}";

static void write_state(const char *text)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/state.json", dir);
	file = fopen(path, "we");
	cr_assert(file && fputs(text, file) >= 0);
	cr_assert_eq(fclose(file), 0);
}

Test(state, a_file_of_version_1_is_loaded_and_its_digest_holds, .init = make_dir,
     .fini = remove_dir)
{
	char note[STATE_MAX_ERROR], damaged[sizeof(version_1)];
	const struct desired_service *service;
	struct state state;
	bool is_new;

	write_state(version_1);
	cr_assert_eq(state_load(dir, &state, &journal, note), 0, "%s", note);
	cr_assert_str_empty(note, "%s", note);
	cr_expect_eq(state.generation, 3);
	cr_assert_eq(state.desired->n_services, 2);
	for (size_t i = 0; i < 2; i++) {
		service = state.desired->service[i];
		cr_expect_eq(service->wire.mode, WIRE_MODE_NAT);
		cr_expect_eq(service->wire.n_sources, 0);
		cr_expect_eq(service->wire.source_port_last, 0);
		cr_expect_eq(service->wire.stateless_replies, 1, "as it was then");
		cr_expect_eq(service->wire.proxy_protocol, WIRE_PROXY_NONE);
		cr_expect_eq(service->n_backends, 1);
	}
	/* Saved again it is of this version. */
	cr_assert_eq(state_save(dir, &state, &journal, &is_new, note), 0, "%s", note);
	desired_free(state.desired);
	cr_assert_eq(state_load(dir, &state, &journal, note), 0, "%s", note);
	cr_assert_str_empty(note, "%s", note);
	desired_free(state.desired);

	memcpy(damaged, version_1, sizeof(damaged));
	*strstr(damaged, "7,") = '8';
	remove_dir();
	cr_assert_eq(mkdir(dir, 0700), 0);
	write_state(damaged);
	cr_assert_eq(state_load(dir, &state, &journal, note), -EBADMSG);
	cr_expect(strstr(note, "digest"), "%s", note);
}

/* What version 2 wrote, whose records of services ended behind the source pool. */
static const char version_2[] =
	"{\"version\": 2, \"generation\": 2, \"hash_key\": \"59bb673ff88dc1bac25fdb3990b95d6d\","
	" \"file\": \"/etc/sluice/sluice.yaml\", \"file_digest\": \"7d1320d266f0f8f6\","
	" \"digest\": \"8d4a3cf7c1c3644e\", \"services\": ["
	"{\"name\": \"api\", \"address\": \"203.0.113.11:443/tcp\", \"mode\": \"fullnat\","
	" \"scheduler\": \"maglev\", \"source\": [\"10.1.0.9\"], \"source_ports\": \"1024-65535\","
	" \"stateless_replies\": false, \"proxy_protocol\": \"v2\", \"slots\": 65537, \"owner\":"
	" \"file\", \"timeouts\": {\"established\": 7440, \"transitory\": 240, \"embryonic\": 10,"
	" \"udp\": 300}, \"backends\": [{\"address\": \"10.1.0.2:8443\", \"weight\": 3, \"state\":"
	" \"ready\"}]},"
	"{\"name\": \"office\", \"address\": \"10.0.0.0/16\", \"mode\": \"snat\","
	" \"scheduler\": \"maglev\", \"source\": [\"203.0.113.200\"], \"source_ports\":"
	" \"1024-65535\", \"stateless_replies\": true, \"proxy_protocol\": \"none\", \"slots\": "
	"65537,"
	" \"owner\": \"file\", \"timeouts\": {\"established\": 7440, \"transitory\": 240,"
	" \"embryonic\": 240, \"udp\": 300}, \"backends\": []},"
	"{\"name\": \"six\", \"address\": \"2001:db8::/56\", \"mode\": \"snat\","
	" \"scheduler\": \"maglev\", \"source\": [\"2001:db8:1::1\"], \"source_ports\":"
	" \"1024-65535\", \"stateless_replies\": true, \"proxy_protocol\": \"none\", \"slots\": "
	"65537,"
	" \"owner\": \"api\", \"timeouts\": {\"established\": 7440, \"transitory\": 240,"
	" \"embryonic\": 240, \"udp\": 300}, \"backends\": []}]}";

Test(state, a_file_of_version_2_is_loaded_and_its_digest_holds, .init = make_dir,
     .fini = remove_dir)
{
	char note[STATE_MAX_ERROR], damaged[sizeof(version_2)];
	const struct desired_service *service;
	struct state state;
	bool is_new;

	write_state(version_2);
	cr_assert_eq(state_load(dir, &state, &journal, note), 0, "%s", note);
	cr_assert_str_empty(note, "%s", note);
	cr_assert_eq(state.desired->n_services, 3);
	service = state.desired->service[0];
	cr_expect_eq(service->wire.proxy_protocol, WIRE_PROXY_V2);
	cr_expect_eq(service->wire.n_sources, 1);
	cr_expect_eq(service->wire.flow_log, 0, "as it was then");
	cr_expect_eq(service->n_backends, 1);
	cr_expect_eq(state.desired->service[1]->wire.mode, WIRE_MODE_SNAT);
	/* Saved again it is of this version. */
	cr_assert_eq(state_save(dir, &state, &journal, &is_new, note), 0, "%s", note);
	desired_free(state.desired);
	cr_assert_eq(state_load(dir, &state, &journal, note), 0, "%s", note);
	cr_assert_str_empty(note, "%s", note);
	desired_free(state.desired);

	memcpy(damaged, version_2, sizeof(damaged));
	*strstr(damaged, "9\"]") = '8';
	remove_dir();
	cr_assert_eq(mkdir(dir, 0700), 0);
	write_state(damaged);
	cr_assert_eq(state_load(dir, &state, &journal, note), -EBADMSG);
	cr_expect(strstr(note, "digest"), "%s", note);
}

/* What version 3 wrote, whose records of backends ended behind the weight. */
static const char version_3[] =
	"{\"version\": 3, \"generation\": 1, \"hash_key\": \"931c9afa3d7e21858c1b0f6a779c2a32\","
	" \"file\": \"/etc/sluice/sluice.yaml\", \"file_digest\": \"2d85b0667767e068\","
	" \"digest\": \"a097f9f95cd62029\", \"services\": ["
	"{\"name\": \"api\", \"address\": \"203.0.113.11:443/tcp\", \"mode\": \"nat\","
	" \"scheduler\": \"maglev\", \"source\": [], \"source_ports\": null, \"deny_source\": [],"
	" \"deny_destination\": [], \"stateless_replies\": true, \"proxy_protocol\": \"none\","
	" \"flow_log\": true, \"slots\": 65537, \"owner\": \"file\", \"timeouts\":"
	" {\"established\": 7440, \"transitory\": 240, \"embryonic\": 10, \"udp\": 300},"
	" \"backends\": [{\"address\": \"10.1.0.2:8443\", \"weight\": 3, \"state\": \"drain\"},"
	" {\"address\": \"10.1.0.3:8443\", \"weight\": 2, \"state\": \"ready\"}]}]}";

Test(state, a_file_of_version_3_is_loaded_and_its_digest_holds, .init = make_dir,
     .fini = remove_dir)
{
	char note[STATE_MAX_ERROR];
	struct state state;

	write_state(version_3);
	cr_assert_eq(state_load(dir, &state, &journal, note), 0, "%s", note);
	cr_assert_str_empty(note, "%s", note);
	cr_assert_eq(state.desired->service[0]->n_backends, 2);
	cr_expect_eq(state.desired->service[0]->backend[1].wire.weight, 2);
	cr_expect_eq(state.desired->service[0]->backend[1].wire.max_flows, 0, "as it was then");
	desired_free(state.desired);
}

/* What version 4 wrote, whose records of services ended behind the flow log. */
static const char version_4[] =
	"{\"version\": 4, \"generation\": 1, \"hash_key\": \"5aada5ec24a238c76b9f356479c023bf\","
	" \"file\": \"/tmp/tmp65lav1v6/sluice.yaml\", \"file_digest\": \"582d5d97b9a4ede9\","
	" \"digest\": \"075d18d7dce52261\", \"services\": ["
	"{\"name\": \"api\", \"address\": \"203.0.113.11:443/tcp\", \"mode\": \"nat\","
	" \"scheduler\": \"round_robin\", \"source\": [], \"source_ports\": null, \"deny_source\":"
	" [], \"deny_destination\": [], \"stateless_replies\": true, \"proxy_protocol\": \"none\","
	" \"flow_log\": true, \"slots\": 65537, \"owner\": \"file\", \"timeouts\":"
	" {\"established\": 7440, \"transitory\": 240, \"embryonic\": 10, \"udp\": 300},"
	" \"backends\": [{\"address\": \"10.1.0.2:8443\", \"weight\": 3, \"max_flows\": 7,"
	" \"state\": \"drain\"},"
	" {\"address\": \"10.1.0.3:8443\", \"weight\": 2, \"state\": \"ready\"}]}]}";

Test(state, a_file_of_version_4_is_loaded_and_its_digest_holds, .init = make_dir,
     .fini = remove_dir)
{
	char note[STATE_MAX_ERROR];
	struct state state;

	write_state(version_4);
	cr_assert_eq(state_load(dir, &state, &journal, note), 0, "%s", note);
	cr_assert_str_empty(note, "%s", note);
	cr_assert_eq(state.desired->n_services, 1);
	cr_expect_eq(state.desired->service[0]->backend[0].wire.max_flows, 7);
	cr_expect_eq(state.desired->service[0]->wire.affinity_timeout_sec, 0, "as it was then");
	desired_free(state.desired);
}

/* What version 5 wrote, whose records of prefixes had no family, and those of backends no canary_weight. */
static const char version_5[] =
	"{\"version\": 5, \"generation\": 1, \"hash_key\": \"45156c9e54b98135469759abe266db78\", "
	"\"file\": \"/tmp/tmpg9gadnol/sluice.yaml\", \"file_digest\": \"ab60c63a8adabba2\", "
	"\"digest\": "
	"\"0c35f890461274f1\", \"services\": [{\"name\": \"office\", \"address\": \"10.0.0.0/16\", "
	"\"mode\": "
	"\"snat\", \"scheduler\": \"maglev\", \"source\": [\"192.0.2.1\"], \"source_ports\": "
	"\"1024-65535\", "
	"\"deny_source\": [\"10.0.9.0/24\"], \"deny_destination\": [\"192.168.0.0/16\"], "
	"\"stateless_replies\": true, \"proxy_protocol\": \"none\", \"flow_log\": false, "
	"\"slots\": "
	"65537, \"owner\": \"file\", \"timeouts\": {\"established\": 7440, \"transitory\": 240, "
	"\"embryonic\": 240, \"udp\": 300}, \"backends\": []}, {\"canary\": {\"group\": \"v2\", "
	"\"share_percent\": 5}, \"name\": \"web\", \"address\": \"203.0.113.10:80/tcp\", \"mode\": "
	"\"nat\", "
	"\"scheduler\": \"maglev\", \"source\": [], \"source_ports\": null, \"deny_source\": [], "
	"\"deny_destination\": [], \"stateless_replies\": true, \"proxy_protocol\": \"none\", "
	"\"flow_log\": false, \"slots\": 65537, \"owner\": \"file\", \"timeouts\": "
	"{\"established\": 7440, "
	"\"transitory\": 240, \"embryonic\": 10, \"udp\": 300}, \"backends\": [{\"address\": "
	"\"10.1.0.2:8080\", \"weight\": 3, \"max_flows\": 7, \"state\": \"ready\", \"group\": "
	"\"v2\"}]}]}";

Test(state, a_file_of_version_5_is_loaded_and_its_digest_holds, .init = make_dir,
     .fini = remove_dir)
{
	const struct desired_service *office, *web;
	char note[STATE_MAX_ERROR];
	struct state state;

	write_state(version_5);
	cr_assert_eq(state_load(dir, &state, &journal, note), 0, "%s", note);
	cr_assert_str_empty(note, "%s", note);
	office = desired_find(state.desired, "office");
	web = desired_find(state.desired, "web");
	cr_assert(office && web);
	cr_expect_eq(office->n_listed, 2);
	cr_expect_eq(office->listed[0].family, SL_FAMILY_IPV4, "the service's");
	cr_expect_eq(web->canary.share, 500);
	cr_expect_eq(web->n_listed, 0, "its canary has no sources, as it had none then");
	desired_free(state.desired);
}

/* Of either family, whatever the service's is. */
static struct wire_listed canary_source(uint32_t i)
{
	struct wire_listed source = {.list = WIRE_CANARY_SOURCE,
				     .family = i % 2 ? SL_FAMILY_IPV6 : SL_FAMILY_IPV4,
				     .length = i % 2 ? 128 : 32};

	source.addr.word[0] = i % 2 ? SL_BE32(0x20010db8) : sl_to_be32(0x0a000000 + i);
	source.addr.word[3] = i % 2 ? sl_to_be32(i) : 0;
	return source;
}

Test(state, sources_of_a_canary_are_saved_and_loaded, .init = make_dir, .fini = remove_dir)
{
	struct state saved = make_state(1, 2), loaded;
	const uint32_t n = SL_MAX_CANARY_SOURCES_PER_SERVICE;
	struct wire_listed *source = calloc(n, sizeof(*source));
	const struct desired_service *found;
	struct desired_service *service;
	char note[STATE_MAX_ERROR];
	struct rpc_error error;
	bool is_new;

	for (uint32_t i = 0; i < n; i++)
		source[i] = canary_source(i);
	cr_assert_eq(
		desired_edit(saved.desired, saved.desired->service[0]->wire.name, &service, &error),
		RPC_OK);
	service->canary = (struct share_canary){.group = "v2"};
	desired_service_list(service, source, n);
	cr_assert_eq(state_save(dir, &saved, &journal, &is_new, note), 0, "%s", note);
	cr_assert_eq(state_load(dir, &loaded, &journal, note), 0, "%s", note);
	found = desired_find(loaded.desired, service->wire.name);
	cr_assert_eq(found->n_listed, n);
	cr_expect_arr_eq(found->listed, service->listed, n * sizeof(*found->listed));
	cr_expect_eq(desired_digest(loaded.desired, &loaded.hash_key),
		     desired_digest(saved.desired, &saved.hash_key));
	desired_free(saved.desired);
	desired_free(loaded.desired);
}

Test(state, a_source_pool_is_saved_and_loaded, .init = make_dir, .fini = remove_dir)
{
	struct state saved = make_state(42, 2), loaded;
	struct desired_service *service;
	const struct wire_service *wire;
	char note[STATE_MAX_ERROR];
	struct rpc_error error;
	bool is_new;

	cr_assert_eq(desired_edit(saved.desired, "web", &service, &error), RPC_OK);
	service->wire.mode = WIRE_MODE_FULLNAT;
	service->wire.stateless_replies = 0;
	service->wire.proxy_protocol = WIRE_PROXY_V2;
	service->wire.flow_log = 1;
	service->wire.affinity_timeout_sec = 300;
	service->wire.affinity_prefix = 24;
	service->wire.source_port_first = 2000;
	service->wire.source_port_last = 2000;
	service->wire.n_sources = SL_MAX_SOURCES_PER_SERVICE;
	for (uint32_t i = 0; i < SL_MAX_SOURCES_PER_SERVICE; i++) {
		service->wire.source[i].word[0] = SL_BE32(0x20010db8);
		service->wire.source[i].word[3] = sl_to_be32(500 - i);
	}
	cr_assert_eq(state_save(dir, &saved, &journal, &is_new, note), 0, "%s", note);
	cr_assert_eq(state_load(dir, &loaded, &journal, note), 0, "%s", note);
	wire = &loaded.desired->service[0]->wire;
	cr_expect_arr_eq(wire, &saved.desired->service[0]->wire, sizeof(*wire));
	desired_free(loaded.desired);
	desired_free(saved.desired);
}

Test(state, a_deny_list_is_saved_and_loaded, .init = make_dir, .fini = remove_dir)
{
	struct wire_address address = {
		.addr.ipv4 = SL_BE32(0x0a000000), .port = SL_BE16(16), .family = SL_FAMILY_IPV4};
	struct state saved = make_state(42, 2), loaded;
	struct desired_service *service =
		desired_service_new("office", &address, DESIRED_OWNER_API);
	struct wire_listed *deny = calloc(SL_MAX_DENIES_PER_SERVICE, sizeof(*deny));
	const struct desired_service *found;
	char note[STATE_MAX_ERROR];
	struct rpc_error error;
	bool is_new;

	cr_assert(service && deny);
	for (uint32_t i = 0; i < SL_MAX_DENIES_PER_SERVICE; i++) {
		deny[i].addr.ipv4 = sl_to_be32(0x0a000000 + i / 2);
		deny[i].length = 32;
		deny[i].list = i % 2 ? WIRE_DENY_SOURCE : WIRE_DENY_DESTINATION;
		deny[i].family = SL_FAMILY_IPV4;
	}
	deny[0].length = 0; /* 0.0.0.0/0 */
	deny[0].addr.ipv4 = 0;
	desired_service_list(service, deny, SL_MAX_DENIES_PER_SERVICE);
	cr_assert_eq(desired_add(saved.desired, service, &error), RPC_OK);
	cr_assert_eq(state_save(dir, &saved, &journal, &is_new, note), 0, "%s", note);
	cr_assert_eq(state_load(dir, &loaded, &journal, note), 0, "%s", note);
	cr_assert_str_empty(note, "%s", note);
	found = desired_find(loaded.desired, "office");
	cr_assert(found);
	cr_assert_eq(found->n_listed, SL_MAX_DENIES_PER_SERVICE);
	cr_expect_arr_eq(found->listed, service->listed, found->n_listed * sizeof(*found->listed));
	cr_expect_eq(desired_find(loaded.desired, "web")->n_listed, 0);
	desired_free(loaded.desired);
	desired_free(saved.desired);
}

Test(state, a_health_check_is_saved_and_loaded, .init = make_dir, .fini = remove_dir)
{
	struct state saved = make_state(42, 2), loaded;
	struct desired_service *service;
	const struct desired_service *found;
	char note[STATE_MAX_ERROR];
	struct rpc_error error;
	bool is_new;

	for (uint8_t type = HEALTH_CHECK_NONE; type < N_HEALTH_CHECK_TYPES; type++) {
		size_t n;
		const struct health_check_member *member = health_check_members(&n);

		cr_assert_eq(desired_edit(saved.desired, "web", &service, &error), RPC_OK);
		health_check_init(&service->check);
		service->check.type = type;
		service->check.on_down = HEALTH_CHECK_KEEP;
		service->check.tls_verify = 1;
		for (size_t i = 0; i < n; i++) {
			char *at = (char *)&service->check + member[i].offset;

			if (member[i].kind == HEALTH_CHECK_NUMBER)
				memcpy(at, &member[i].most, sizeof(member[i].most));
			else if (member[i].kind == HEALTH_CHECK_TEXT)
				memset(at, '"' + (int)i, member[i].most);
		}
		health_check_settle(&service->check);
		cr_assert_eq(state_save(dir, &saved, &journal, &is_new, note), 0, "%s", note);
		cr_assert_eq(state_load(dir, &loaded, &journal, note), 0, "%s", note);
		found = desired_find(loaded.desired, "web");
		cr_expect_arr_eq(&found->check, &service->check, sizeof(found->check),
				 "a check of type %s", health_check_type_name(type));
		desired_free(loaded.desired);
	}
	desired_free(saved.desired);
}

Test(state, roles_and_a_canary_are_saved_and_loaded, .init = make_dir, .fini = remove_dir)
{
	struct state saved = make_state(42, 3), loaded;
	struct desired_service *service;
	const struct desired_service *found;
	char note[STATE_MAX_ERROR];
	struct rpc_error error;
	bool is_new;

	cr_assert_eq(desired_edit(saved.desired, "web", &service, &error), RPC_OK);
	service->backend[1].part.role = SHARE_BACKUP;
	service->backend[2].part.role = SHARE_SORRY;
	memset(service->backend[1].part.group, 'g', SL_MAX_NAME - 1);
	service->canary.share = 1234;
	memset(service->canary.group, 'g', SL_MAX_NAME - 1);
	cr_assert_eq(state_save(dir, &saved, &journal, &is_new, note), 0, "%s", note);
	cr_assert_eq(state_load(dir, &loaded, &journal, note), 0, "%s", note);
	found = desired_find(loaded.desired, "web");
	cr_expect_arr_eq(&found->canary, &service->canary, sizeof(found->canary));
	for (uint32_t i = 0; i < service->n_backends; i++)
		cr_expect_arr_eq(&found->backend[i].part, &service->backend[i].part,
				 sizeof(found->backend[i].part), "%u", i);
	desired_free(loaded.desired);
	desired_free(saved.desired);
}

Test(state, an_empty_folder_has_no_state, .init = make_dir, .fini = remove_dir)
{
	struct state state;
	char note[STATE_MAX_ERROR];

	cr_assert_eq(state_load(dir, &state, &journal, note), -ENOENT);
}

Test(state, damage_falls_back_to_the_state_before, .init = make_dir, .fini = remove_dir)
{
	static const struct {
		const char *text;
		off_t length;
	} rows[] = {{NULL, 0}, {NULL, 1},        {NULL, 50}, {NULL, 300},
		    {"{}", 2}, {"nonsense", -1}, {"[1]", 3}, {"{\"version\":2}", 13}};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct state state;
		char note[STATE_MAX_ERROR];

		save(1, 3);
		save(2, 5);
		damage("state.json", rows[i].text, rows[i].length);
		cr_assert_eq(state_load(dir, &state, &journal, note), 0, "row %zu: %s", i, note);
		cr_expect_eq(state.generation, 1, "row %zu", i);
		cr_expect_eq(state.desired->n_backends, 3, "row %zu", i);
		cr_expect(strstr(note, "damaged") && strstr(note, dir), "row %zu: %s", i, note);
		desired_free(state.desired);
	}
}

Test(state, one_changed_digit_is_seen, .init = make_dir, .fini = remove_dir)
{
	char path[128], *text, note[STATE_MAX_ERROR];
	struct state state;
	struct stat size;
	FILE *file;

	save(1, 2);
	(void)snprintf(path, sizeof(path), "%s/state.json", dir);
	cr_assert_eq(stat(path, &size), 0);
	text = calloc(1, (size_t)size.st_size + 1);
	file = fopen(path, "r+");
	cr_assert(file && text);
	cr_assert_eq(fread(text, 1, (size_t)size.st_size, file), (size_t)size.st_size);
	cr_assert(strstr(text, "\"weight\":1"));
	*(strstr(text, "\"weight\":1") + 9) = '2';
	rewind(file);
	cr_assert_eq(fwrite(text, 1, (size_t)size.st_size, file), (size_t)size.st_size);
	(void)fclose(file);
	free(text);
	cr_assert_eq(state_load(dir, &state, &journal, note), -EBADMSG);
	cr_assert(strstr(note, "digest"), "%s", note);
}

Test(state, both_damaged_is_an_error, .init = make_dir, .fini = remove_dir)
{
	struct state state;
	char note[STATE_MAX_ERROR];

	save(1, 1);
	save(2, 1);
	damage("state.json", NULL, 10);
	damage("state.json.last-good", NULL, 10);
	cr_assert_eq(state_load(dir, &state, &journal, note), -EBADMSG);
}

Test(state, a_folder_that_cannot_be_written_is_named, .init = make_dir, .fini = remove_dir)
{
	struct state state = make_state(1, 1);
	char error[STATE_MAX_ERROR], missing[96];
	bool is_new;

	(void)snprintf(missing, sizeof(missing), "%s/missing", dir);
	cr_assert_eq(state_save(missing, &state, &journal, &is_new, error), -ENOENT);
	cr_assert(strstr(error, missing), "%s", error);
	cr_assert_not(is_new);
	desired_free(state.desired);
}

/* A child saves one state after another and is killed at some moment; 60 times, more on a slow disk. */
Test(state, a_kill_at_any_moment_leaves_a_whole_state, .init = make_dir, .fini = remove_dir,
     .timeout = 60)
{
	uint64_t last = 1;

	save(last, 20);
	for (unsigned round = 0; round < 60 || (last <= 10 && round < 300); round++) {
		struct state state;
		char note[STATE_MAX_ERROR];
		pid_t child = fork();

		if (child == 0)
			for (uint64_t generation = last;; generation++)
				save(generation, 20);
		(void)usleep(500 + round * 333);
		cr_assert_eq(kill(child, SIGKILL), 0);
		cr_assert_eq(waitpid(child, NULL, 0), child);
		cr_assert_eq(state_load(dir, &state, &journal, note), 0, "round %u: %s", round,
			     note);
		cr_assert_str_empty(note, "round %u: %s", round, note);
		cr_assert(state.generation >= last, "round %u", round);
		cr_assert_eq(state.hash_key.word[1], state.generation);
		last = state.generation;
		desired_free(state.desired);
	}
	cr_assert(last > 10, "the children got nowhere");
}
