/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The configuration loader. Each file of broken/ begins with "# expect: LINE:COL: TEXT" and must be
 * refused with an error at that position that contains TEXT; each file of good/ must load, and its
 * services must survive export and load. CONFIG_TEST_DIR: where the two folders are.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"
#include "wire/wire_abi.h"

#ifndef CONFIG_TEST_DIR
#define CONFIG_TEST_DIR "tests/config"
#endif

static void case_path(char path[512], const char *folder, const char *file)
{
	const char *base = getenv("CONFIG_TEST_DIR");

	snprintf(path, 512, "%s/%s/%s", base != NULL ? base : CONFIG_TEST_DIR, folder, file);
}

/* Calls @check for each *.yaml of a folder; returns how many there were. */
static size_t each_file(const char *folder, void (*check)(const char *file, const char *path))
{
	char path[512];
	struct dirent **entry;
	size_t n_files = 0;
	int n;

	case_path(path, folder, "");
	n = scandir(path, &entry, NULL, alphasort);
	cr_assert_geq(n, 0, "%s: %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		const char *dot = strrchr(entry[i]->d_name, '.');

		if (dot != NULL && strcmp(dot, ".yaml") == 0) {
			case_path(path, folder, entry[i]->d_name);
			check(entry[i]->d_name, path);
			n_files++;
		}
		free(entry[i]);
	}
	free(entry);
	return n_files;
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct config *load_text(const char *text, struct config_problems *problems)
{
	struct config *config;

	*problems = (struct config_problems){0};
	return config_load_text("x", text, strlen(text), &config, problems) == 0 ? config : NULL;
}

static void check_broken(const char *file, const char *path)
{
	static const char head[] = "# expect: ";
	struct config_problems problems = {0};
	struct config *config = NULL;
	char all[CONFIG_MAX_PROBLEMS * CONFIG_MAX_TEXT];
	char place[520] = "";
	char line[512] = "";
	char *text;
	FILE *in = fopen(path, "re");
	bool is_found = false;

	cr_assert_not_null(in, "%s", path);
	cr_assert_not_null(fgets(line, sizeof(line), in), "%s is empty", file);
	fclose(in);
	line[strcspn(line, "\r\n")] = '\0';
	cr_assert_eq(strncmp(line, head, strlen(head)), 0, "%s: no expectation", file);
	text = strstr(line, ": ") + 2;
	text = strstr(text, ": ");
	cr_assert_not_null(text, "%s: no text expected", file);
	*text = '\0';
	text += 2;
	snprintf(place, sizeof(place), ":%s: ", line + strlen(head));

	cr_expect_eq(config_load_file(path, &config, &problems), -EINVAL, "%s is not refused",
		     file);
	cr_expect_null(config, "%s", file);
	for (size_t i = 0; i < problems.n; i++) {
		const struct config_problem *problem = &problems.problem[i];

		is_found |= !problem->is_warning && strstr(problem->text, place) != NULL &&
			    strstr(problem->text, text) != NULL;
	}
	config_problems_text(&problems, all, sizeof(all));
	cr_expect(is_found, "%s: no error at %s\"%s\" among:\n%s", file, place, text, all);
	config_free(config);
}

static void expect_same(const struct config *a, const struct config *b, const char *what)
{
	cr_assert_eq(a->n_services, b->n_services, "%s", what);
	for (size_t i = 0; i < a->n_services; i++) {
		const struct config_service *left = &a->service[i];
		const struct config_service *right = &b->service[i];

		cr_expect_arr_eq(&left->wire, &right->wire, sizeof(left->wire), "%s: service %s",
				 what, left->wire.name);
		cr_assert_eq(left->n_backends, right->n_backends, "%s", what);
		cr_expect_arr_eq(&left->canary, &right->canary, sizeof(left->canary),
				 "%s: service %s", what, left->wire.name);
		for (size_t k = 0; k < left->n_backends; k++)
			cr_expect_arr_eq(&left->backend[k].part, &right->backend[k].part,
					 sizeof(left->backend[k].part), "%s: %s backend %zu", what,
					 left->wire.name, k);
		for (size_t k = 0; k < left->n_backends; k++)
			cr_expect_arr_eq(&left->backend[k].wire, &right->backend[k].wire,
					 sizeof(left->backend[k].wire), "%s: %s backend %zu", what,
					 left->wire.name, k);
		cr_assert_eq(left->n_listed, right->n_listed, "%s", what);
		for (size_t k = 0; k < left->n_listed; k++)
			cr_expect_arr_eq(&left->listed[k].wire, &right->listed[k].wire,
					 sizeof(left->listed[k].wire), "%s: %s deny %zu", what,
					 left->wire.name, k);
	}
}

static void check_good(const char *file, const char *path)
{
	struct config_problems problems = {0};
	struct config *config = NULL;
	struct config *again;
	char *text;

	cr_assert_eq(config_load_file(path, &config, &problems), 0, "%s: %s", file,
		     problems.problem[0].text);
	text = config_export(config->service, config->n_services);
	cr_assert_not_null(text, "%s", file);
	again = load_text(text, &problems);
	cr_assert_not_null(again, "%s: the export is refused: %s\n%s", file,
			   problems.problem[0].text, text);
	expect_same(config, again, file);
	free(text);
	config_free(again);
	config_free(config);
}

Test(config, broken_files_are_refused_where_they_are_broken)
{
	cr_expect_geq(each_file("broken", check_broken), 80);
}

Test(config, good_files_load_and_survive_export)
{
	cr_expect_geq(each_file("good", check_good), 5);
}

Test(config, what_is_not_written_has_its_default)
{
	struct config_problems problems;
	struct config *config = load_text("services: [{name: a, address: \"192.0.2.1:80/tcp\", "
					  "backends: [{address: \"10.0.0.1:80\"}]}]",
					  &problems);

	cr_assert_not_null(config, "%s", problems.problem[0].text);
	cr_expect_str_eq(config->run_dir, "/run/sluice");
	cr_expect_str_eq(config->state_dir, "/var/lib/sluice");
	cr_expect_str_eq(config->user, "sluice");
	cr_expect_str_eq(config->group, "sluice");
	cr_expect_str_eq(config->metrics_listen, "127.0.0.1:9109");
	cr_expect_eq(config->engine, CONFIG_ENGINE_AUTO);
	cr_expect_eq(config->hugepages, CONFIG_HUGEPAGES_AUTO);
	cr_expect_eq(config->n_workers, 1);
	cr_expect_eq(config->core[0], -1);
	cr_expect_eq(config->n_flows, SL_DEFAULT_FLOWS);
	cr_expect_eq(config->memory_mb, 0);
	cr_expect_eq(config->idle_sleep_us, 0);
	cr_expect_not(config->telemetry);
	cr_expect_not(config->has_hash_key);
	cr_expect_eq(config->service[0].wire.mode, WIRE_MODE_NAT);
	cr_expect_eq(config->service[0].wire.scheduler, WIRE_SCHEDULER_MAGLEV);
	cr_expect_eq(config->service[0].wire.n_slots, SL_DEFAULT_SLOTS);
	cr_expect_eq(config->service[0].wire.timeout_established_sec,
		     SL_TIMEOUT_TCP_ESTABLISHED_SEC);
	cr_expect_eq(config->service[0].backend[0].wire.weight, 1);
	cr_expect_eq(config->service[0].backend[0].wire.state, WIRE_STATE_READY);
	config_free(config);
}

Test(config, every_key_of_the_dataplane_is_read)
{
	static const char text[] = "dataplane:\n"
				   "  engine: dpdk\n"
				   "  ports:\n"
				   "    - interface: eth1\n"
				   "    - {pci: \"0000:03:00.1\", kernel_interface: up0}\n"
				   "    - vdev: net_null0\n"
				   "  workers: [2, 4]\n"
				   "  flows: 64\n"
				   "  hugepages: off\n"
				   "  memory_mb: 512\n"
				   "  idle_sleep_us: 100\n"
				   "  telemetry: true\n"
				   "  hash_key: 000102030405060708090a0b0c0d0e0F\n";
	struct config_problems problems;
	struct config *config = load_text(text, &problems);

	cr_assert_not_null(config, "%s", problems.problem[0].text);
	cr_expect_eq(config->engine, CONFIG_ENGINE_DPDK);
	cr_expect_eq(config->hugepages, CONFIG_HUGEPAGES_OFF);
	cr_expect_eq(config->n_workers, 2);
	cr_expect_eq(config->core[0], 2);
	cr_expect_eq(config->core[1], 4);
	cr_expect_eq(config->n_flows, 64);
	cr_expect_eq(config->memory_mb, 512);
	cr_expect_eq(config->idle_sleep_us, 100);
	cr_expect(config->telemetry);
	cr_expect(config->has_hash_key);
	cr_expect_eq(config->hash_key.word[0], UINT64_C(0x0706050403020100));
	cr_assert_eq(config->n_ports, 3);
	cr_expect_eq(config->port[0].kind, CONFIG_PORT_INTERFACE);
	cr_expect_str_eq(config->port[0].kernel_interface, "sluice0");
	cr_expect_eq(config->port[1].kind, CONFIG_PORT_PCI);
	cr_expect_str_eq(config->port[1].device, "0000:03:00.1");
	cr_expect_str_eq(config->port[1].kernel_interface, "up0");
	cr_expect_eq(config->port[2].kind, CONFIG_PORT_VDEV);
	cr_expect_str_eq(config->port[2].kernel_interface, "sluice2");
	config_free(config);
}

Test(config, all_errors_are_told_up_to_the_limit)
{
	struct config_problems problems;
	char text[4096] = "dataplane:\n";
	char told[CONFIG_MAX_PROBLEMS * CONFIG_MAX_TEXT];

	for (int i = 0; i < 25; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "  no%d: 1\n", i);
	cr_assert_null(load_text(text, &problems));
	cr_expect_eq(problems.n, CONFIG_MAX_PROBLEMS);
	cr_expect_eq(problems.n_errors, 25);
	config_problems_text(&problems, told, sizeof(told));
	cr_expect_not_null(strstr(told, "... and 5 more"));
}

/* 25 warnings stood in all places, and the refusal had no reason. */
Test(config, an_error_after_many_warnings_is_told)
{
	struct config_problems problems;
	char text[4096] = "services:\n";

	for (int i = 0; i < 25; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "  - {name: s%d, address: \"192.0.2.%d:80/tcp\"}\n", i, i + 1);
	strcat(text, "  - {name: bad, address: \"192.0.2.99:80/tcp\", mode: fullnat}\n");
	cr_assert_null(load_text(text, &problems));
	cr_expect_eq(problems.n, CONFIG_MAX_PROBLEMS);
	cr_expect_eq(problems.n_errors, 1);
	cr_expect_not(problems.problem[CONFIG_MAX_PROBLEMS - 1].is_warning);
	cr_expect_not_null(strstr(problems.problem[CONFIG_MAX_PROBLEMS - 1].text, "x:27:"));
}

Test(config, a_service_that_takes_no_flow_is_a_warning)
{
	static const char none[] = "services: [{name: a, address: \"192.0.2.1:80/tcp\"}]";
	static const char zero[] = "services: [{name: a, address: \"192.0.2.1:80/tcp\", "
				   "backends: [{address: \"10.0.0.1:80\", weight: 0}]}]";
	struct config_problems problems;
	struct config *config = load_text(none, &problems);

	cr_assert_not_null(config);
	cr_assert_eq(problems.n, 1);
	cr_expect(problems.problem[0].is_warning);
	cr_expect_not_null(strstr(problems.problem[0].text, "has no backend"));
	config_free(config);
	config = load_text(zero, &problems);
	cr_assert_not_null(config);
	cr_assert_eq(problems.n, 1);
	cr_expect(problems.problem[0].is_warning);
	cr_expect_not_null(strstr(problems.problem[0].text, "all weights are 0"));
	config_free(config);
}

/* @text is taken, with this warning alone. */
static void expect_warning(const char *text, const char *warning)
{
	struct config_problems problems;
	struct config *config = load_text(text, &problems);

	cr_assert_not_null(config);
	cr_assert_eq(problems.n, 1);
	cr_expect(problems.problem[0].is_warning);
	cr_expect_str_eq(problems.problem[0].text, warning, "%s", problems.problem[0].text);
	config_free(config);
}

Test(config, telemetry_of_an_engine_that_has_none_is_a_warning)
{
	struct config_problems problems;
	struct config *config;

	expect_warning("dataplane:\n  engine: xdp\n  telemetry: true\n",
		       "x:2:3: dataplane.telemetry: warning: there is none: the xdp engine runs "
		       "without DPDK");
	config = load_text("dataplane:\n  engine: auto\n  telemetry: true\n", &problems);
	cr_assert_not_null(config);
	cr_expect_eq(problems.n, 0);
	config_free(config);
}

Test(config, idle_sleep_of_an_engine_that_does_not_poll_is_a_warning)
{
	expect_warning("dataplane:\n  engine: xdp\n  idle_sleep_us: 1\n",
		       "x:2:3: dataplane.idle_sleep_us: warning: there is nobody to sleep: the xdp "
		       "engine is woken by packets");
}

Test(config, flows_that_are_logged_nowhere_are_a_warning)
{
	static const char services[] =
		"services:\n"
		"  - {name: a, address: \"192.0.2.1:80/tcp\", backends: [{address: "
		"\"10.0.0.1:80\"}]}\n"
		"  - {name: b, address: \"192.0.2.2:80/tcp\", flow_log: true, backends: "
		"[{address: \"10.0.0.1:80\"}]}\n";
	char text[512] = "dataplane: {flow_log: /var/log/flows.json}\n";
	struct config_problems problems;
	struct config *config = load_text(services, &problems);

	cr_assert_not_null(config, "%s", problems.problem[0].text);
	cr_expect_eq(config->service[0].wire.flow_log, 0);
	cr_expect_eq(config->service[1].wire.flow_log, 1);
	cr_expect_str_empty(config->flow_log);
	cr_assert_eq(problems.n, 1);
	cr_expect(problems.problem[0].is_warning);
	cr_expect_str_eq(problems.problem[0].text,
			 "x:3:5: services[1] (b): warning: flow_log: nothing is logged: "
			 "dataplane.flow_log names no file");
	config_free(config);
	strcat(text, services);
	config = load_text(text, &problems);
	cr_assert_not_null(config, "%s", problems.problem[0].text);
	cr_expect_str_eq(config->flow_log, "/var/log/flows.json");
	cr_expect_eq(problems.n, 0);
	config_free(config);
}

Test(config, a_source_pool_is_what_the_file_says)
{
	static const char text[] =
		"services:\n"
		"  - {name: a, address: \"192.0.2.1:80/tcp\", mode: fullnat, source: [10.0.0.9, "
		"10.0.0.8]}\n"
		"  - {name: b, address: \"192.0.2.2:80/tcp\", mode: fullnat, source: [10.0.0.9], "
		"source_ports: 7, stateless_replies: false}\n"
		"  - {name: c, address: \"192.0.2.3:80/tcp\"}\n";
	struct config_problems problems;
	struct config *config = load_text(text, &problems);
	const struct wire_service *wire;

	cr_assert_not_null(config, "%s", problems.problem[0].text);
	wire = &config->service[0].wire;
	cr_expect_eq(wire->mode, WIRE_MODE_FULLNAT);
	cr_expect_eq(wire->n_sources, 2);
	cr_expect_eq(wire->source[0].ipv4, SL_BE32(0x0a000009), "in the file's order");
	cr_expect_eq(wire->source[1].ipv4, SL_BE32(0x0a000008));
	cr_expect_eq(wire->source_port_first, 1024);
	cr_expect_eq(wire->source_port_last, 65535);
	cr_expect_eq(wire->stateless_replies, 1);
	wire = &config->service[1].wire;
	cr_expect_eq(wire->source_port_first, 7);
	cr_expect_eq(wire->source_port_last, 7);
	cr_expect_eq(wire->stateless_replies, 0);
	wire = &config->service[2].wire;
	cr_expect_eq(wire->n_sources, 0);
	cr_expect_eq(wire->source_port_last, 0);
	cr_expect_eq(wire->stateless_replies, 1);
	cr_expect_eq(wire->proxy_protocol, WIRE_PROXY_NONE);
	config_free(config);
}

Test(config, a_deny_list_is_a_set_of_each_end)
{
	static const char text[] = "services:\n"
				   "  - {name: a, address: 10.0.0.0/16, source: [192.0.2.1],\n"
				   "     deny_destination: [10.0.3.0/24, 10.0.2.0/24, 10.0.2.0],\n"
				   "     deny_source: [10.0.9.0/24, 10.0.3.0/24]}\n";
	static const char *const wanted[] = {
		"deny_source 10.0.3.0/24",      "deny_source 10.0.9.0/24",
		"deny_destination 10.0.2.0/24", "deny_destination 10.0.2.0/32",
		"deny_destination 10.0.3.0/24",
	};
	struct config_problems problems;
	struct config *config = load_text(text, &problems);
	const struct config_service *service;

	cr_assert_not_null(config, "%s", problems.problem[0].text);
	service = &config->service[0];
	cr_assert_eq(service->n_listed, SL_ARRAY_LEN(wanted));
	for (size_t i = 0; i < service->n_listed; i++) {
		const struct wire_listed *deny = &service->listed[i].wire;
		char prefix[WIRE_ADDRESS_TEXT], all[WIRE_ADDRESS_TEXT + 32];

		wire_format_prefix(&deny->addr, deny->length, SL_FAMILY_IPV4, prefix);
		snprintf(all, sizeof(all), "%s %s", wire_list_name(deny->list), prefix);
		cr_expect_str_eq(all, wanted[i]);
		cr_expect_arr_eq(&deny->service, &service->wire.address, sizeof(deny->service));
	}
	config_free(config);
}

/* Of @n_services services, each that denies @n_sources clients and @n_destinations. */
static char *denying_text(unsigned n_services, unsigned n_sources, unsigned n_destinations)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	cr_assert_not_null(out);
	fprintf(out, "services:\n");
	for (unsigned s = 0; s < n_services; s++) {
		fprintf(out,
			"  - name: s%u\n    address: 10.%u.0.0/16\n    source: [192.0.2.1]\n"
			"    deny_source:\n",
			s, s);
		for (unsigned i = 0; i < n_sources; i++)
			fprintf(out, "      - 10.%u.%u.%u\n", s, i / 250, i % 250);
		fprintf(out, "    deny_destination: [");
		for (unsigned i = n_destinations; i > 0; i--)
			fprintf(out, "198.%u.%u.0/24%s", i / 250, i % 250, i > 1 ? ", " : "");
		fprintf(out, "]\n");
	}
	fclose(out);
	return text;
}

static void expect_denying(const char *text, const char *refusal)
{
	struct config_problems problems;
	struct config *config = load_text(text, &problems);

	if (refusal == NULL) {
		cr_expect_not_null(config, "%s", problems.problem[0].text);
	} else {
		cr_expect_null(config, "not refused: %s", refusal);
		cr_expect_eq(problems.n, 1);
		cr_expect_str_eq(problems.problem[0].text, refusal);
	}
	config_free(config);
}

Test(config, as_many_are_denied_as_may_be_and_no_more)
{
	char *text = denying_text(1, 2000, 2096);

	expect_denying(text, NULL);
	free(text);
	text = denying_text(1, 2000, 2097);
	expect_denying(text, "x:2006:32576: services[0] (s0): 4097 prefixes in deny_source and "
			     "deny_destination (limit 4096)");
	free(text);
	text = denying_text(1, 4097, 0);
	expect_denying(text, "x:6:7: services[0].deny_source: 4097 elements (limit 4096)");
	free(text);
	text = denying_text(17, 1, 3854);
	expect_denying(text, NULL);
	free(text);
	text = denying_text(17, 3856, 0);
	expect_denying(text, "x:65622:9: services: 65552 prefixes in deny_source and "
			     "deny_destination of all services (limit 65536)");
	free(text);
}

Test(config, as_many_denies_as_may_be_are_judged_in_a_moment)
{
	char *text = denying_text(16, 4096, 0);
	struct config_problems problems = {0};
	struct config *config = load_text(text, &problems);
	double start;

	cr_assert_not_null(config, "%s", problems.problem[0].text);
	for (size_t i = 0; i < config->n_services; i++)
		for (size_t k = 0; k < config->service[i].n_listed; k++) {
			struct config_listed *deny = &config->service[i].listed[k];
			struct config_listed *other = &config->service[i].listed[k * 7 % 4096];
			struct config_listed former = *deny;

			*deny = *other;
			*other = former;
		}
	start = cpu_seconds();
	cr_expect_eq(config_check_services(NULL, config->service, config->n_services, &problems),
		     0);
	cr_expect_lt(cpu_seconds() - start, 0.5);
	config_free(config);
	free(text);
}

/* A problem's text goes into JSON, which must be UTF-8, and to terminals. */
Test(config, texts_of_problems_are_printable_ascii)
{
	static const char text[] = "run_dir: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xc3\xa9\"\n"
				   "\"\\e[2J\": 1\n";
	struct config_problems problems;

	cr_assert_null(load_text(text, &problems));
	cr_expect_eq(problems.n_errors, 2);
	for (size_t i = 0; i < problems.n; i++)
		for (const char *c = problems.problem[i].text; *c != '\0'; c++)
			cr_expect(*c >= ' ' && *c <= '~', "byte %d", *c);
}

Test(config, services_without_a_file_are_judged_without_position)
{
	struct config_problems problems = {0};
	struct config_service service[2] = {
		{.wire = {.address = {.protocol = SL_PROTOCOL_TCP,
				      .family = SL_FAMILY_IPV4,
				      .addr.word = {SL_BE32(0xc0000201)},
				      .port = SL_BE16(80)},
			  .mode = WIRE_MODE_NAT,
			  .scheduler = WIRE_SCHEDULER_MAGLEV,
			  .stateless_replies = 1,
			  .n_slots = SL_DEFAULT_SLOTS,
			  .name = "one"}},
	};

	service[1] = service[0];
	strcpy(service[1].wire.name, "two");
	cr_expect_eq(config_check_services(NULL, service, 2, &problems), -EINVAL);
	cr_assert_geq(problems.n, 1);
	cr_expect_str_eq(problems.problem[0].text,
			 "service two: address 192.0.2.1:80/tcp is service one's already");
}

/* The two families' addresses can have the same sixteen bytes. */
Test(config, addresses_of_two_families_are_never_the_same)
{
	static const char text[] = "services:\n"
				   "  - {name: a, address: \"[a00:1::]:80/tcp\"}\n"
				   "  - {name: b, address: \"192.0.2.1:80/tcp\", backends: "
				   "[{address: \"10.0.0.1:80\"}]}\n";
	struct config_problems problems;
	struct config *config = load_text(text, &problems);

	cr_expect_not_null(config, "%s", problems.problem[0].text);
	config_free(config);
}

Test(config, files_that_are_none_are_refused)
{
	struct config_problems problems = {0};
	struct config *config;
	char *text = malloc(SL_MAX_CONFIG_BYTES + 1);

	cr_expect_eq(config_load_file("/nonexistent/sluice.yaml", &config, &problems), -EINVAL);
	cr_expect_not_null(strstr(problems.problem[0].text, "No such file"));
	problems = (struct config_problems){0};
	cr_expect_eq(config_load_file("/", &config, &problems), -EINVAL);
	cr_expect_not_null(strstr(problems.problem[0].text, "Is a directory"));
	problems = (struct config_problems){0};
	cr_assert_not_null(text);
	memset(text, '#', SL_MAX_CONFIG_BYTES + 1);
	cr_expect_eq(config_load_text("x", text, SL_MAX_CONFIG_BYTES + 1, &config, &problems),
		     -EINVAL);
	cr_expect_not_null(strstr(problems.problem[0].text, "limit 16777216"));
	free(text);
	problems = (struct config_problems){0};
	cr_expect_eq(config_load_text("x", "", 0, &config, &problems), -EINVAL);
	cr_expect_str_eq(problems.problem[0].text, "x:1:1: the file is empty");
}

/* 40,000 brackets took libyaml's scanner five seconds, and a JSON-RPC document may have a million. */
Test(config, open_brackets_end_the_reading_at_once)
{
	struct config_problems problems = {0};
	struct config *config;
	size_t length = SL_MAX_RPC_BYTES;
	char *text = malloc(length);
	double start = cpu_seconds();

	cr_assert_not_null(text);
	memset(text, '[', length);
	cr_expect_eq(config_load_text("x", text, length, &config, &problems), -EINVAL);
	cr_expect_not_null(strstr(problems.problem[0].text, "nested too deep (limit 8)"));
	cr_expect_lt(cpu_seconds() - start, 1.0);
	free(text);
}

Test(config, a_hundred_thousand_backends_load_and_survive_export)
{
	struct config_problems problems = {0};
	struct config *config = NULL;
	struct config *again = NULL;
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	double start;

	cr_assert_not_null(out);
	fprintf(out, "services:\n");
	for (unsigned s = 0; s < 1000; s++) {
		fprintf(out, "  - name: s%u\n    address: 203.0.%u.%u:80/tcp\n    backends:\n", s,
			s / 250, s % 250 + 1);
		for (unsigned b = 0; b < 100; b++)
			fprintf(out, "      - {address: 10.%u.%u.%u:8080, weight: 1}\n", s / 250,
				s % 250, b + 1);
	}
	fclose(out);
	start = cpu_seconds();
	cr_assert_eq(config_load_text("x", text, length, &config, &problems), 0, "%s",
		     problems.problem[0].text);
	cr_log_info("%zu bytes in %.2f s of CPU", length, cpu_seconds() - start);
	free(text);
	text = config_export(config->service, config->n_services);
	cr_assert_not_null(text);
	cr_assert_eq(config_load_text("x", text, strlen(text), &again, &problems), 0);
	expect_same(config, again, "large");
	free(text);
	config_free(again);
	config_free(config);
}

/* A file of its own with @text; its name in @path. */
static void write_file(char path[32], const char *text)
{
	int fd;

	strcpy(path, "/tmp/sluice-part-XXXXXX");
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

Test(config, a_part_is_taken_if_what_is_wrong_is_elsewhere)
{
	static const char bad_service[] =
		"run_dir: /run/other\ndataplane: {workers: 2}\nservices: [{title: web}]\n";
	static const char bad_dataplane[] =
		"run_dir: /run/other\ndataplane: {wokers: 2}\nservices: []\n";
	static const char bad_metrics[] = "run_dir: /run/other\ndataplane: {workers: 2}\n"
					  "metrics: {listen: nowhere}\nservices: []\n";
	static const char bad_run_dir[] = "run_dir: other\n";
	static const char in_services[] = "services: [&there {workers: 2}]\nrun_dir: /run/other\n"
					  "dataplane: *there\n";
	static const char nowhere[] = "services: [&here {workers: 2}]\nrun_dir: /run/other\n"
				      "dataplane: *there\n";
	static const char as_value[] = "run_dir: services\nservices: {workers: 3}\n";
	static const char deep[] = "run_dir: /run/other\nservices: [[[[[[[[1]]]]]]]]\n";
	static const struct {
		const char *text;
		enum config_part part;
		int status;
		bool is_told;
	} row[] = {
		{bad_service, CONFIG_PART_ALL, -EINVAL, true},
		{bad_service, CONFIG_PART_DATAPLANE, 0, false},
		{bad_service, CONFIG_PART_RUN_DIR, 0, false},
		{bad_metrics, CONFIG_PART_ALL, -EINVAL, true},
		{bad_metrics, CONFIG_PART_DATAPLANE, 0, true},
		{bad_dataplane, CONFIG_PART_DATAPLANE, -EINVAL, true},
		{bad_dataplane, CONFIG_PART_RUN_DIR, 0, true},
		{bad_run_dir, CONFIG_PART_DATAPLANE, -EINVAL, true},
		{bad_run_dir, CONFIG_PART_RUN_DIR, -EINVAL, true},
		{in_services, CONFIG_PART_DATAPLANE, 0, true}, /* all was read, for the alias */
		{nowhere, CONFIG_PART_DATAPLANE, -EINVAL, true},
		{as_value, CONFIG_PART_DATAPLANE, -EINVAL, true},
		{deep, CONFIG_PART_DATAPLANE, -EINVAL, true},
		{"run_dir: /run/other\nservices: [", CONFIG_PART_DATAPLANE, -EINVAL, true},
		{"run_dir: [", CONFIG_PART_RUN_DIR, -EINVAL, true},
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct config_problems problems = {0};
		struct config *config;
		char path[32];

		write_file(path, row[i].text);
		cr_expect_eq(config_load_part(path, row[i].part, &config, &problems), row[i].status,
			     "row %zu", i);
		cr_expect_eq(problems.n_errors > 0, row[i].is_told, "row %zu", i);
		cr_expect_eq(config != NULL, row[i].status == 0, "row %zu", i);
		if (config != NULL)
			cr_expect_str_eq(config->run_dir, "/run/other");
		if (config != NULL && row[i].part == CONFIG_PART_DATAPLANE)
			cr_expect_eq(config->n_workers, 2);
		config_free(config);
		unlink(path);
	}
}
