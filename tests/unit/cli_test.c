/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* control/cli: the table against the methods, command lines good and bad, tables, help. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/call.h"
#include "control/cli/commands.h"
#include "control/cli/complete.h"
#include "control/cli/help.h"
#include "control/cli/output.h"
#include "control/cli/parse.h"
#include "control/cli/table.h"
#include "control/methods.h"

enum {
	MAX_WORDS = 64,
	MAX_LINE = 1024,
};

/* A command line, split at blanks; "~" stands for an empty word. */
struct line {
	char text[MAX_LINE];
	char *argv[MAX_WORDS];
	int argc;
};

static char program[] = "sluice";
static char empty[] = "";

static void split(const char *text, struct line *line)
{
	char *save = NULL;

	(void)snprintf(line->text, sizeof(line->text), "%s", text);
	line->argc = 0;
	line->argv[line->argc++] = program;
	for (char *word = strtok_r(line->text, " ", &save); word && line->argc < MAX_WORDS - 1;
	     word = strtok_r(NULL, " ", &save))
		line->argv[line->argc++] = strcmp(word, "~") == 0 ? empty : word;
	line->argv[line->argc] = NULL;
}

static int parse(const char *text, struct cli_options *options, struct request *request,
		 struct rpc_error *error)
{
	struct line line;
	int first, code;

	split(text, &line);
	memset(request, 0, sizeof(*request));
	memset(error, 0, sizeof(*error));
	code = parse_options(line.argc, line.argv, options, &first, error);
	if (!code)
		code = parse_request(options, line.argc - first, line.argv + first, request, error);
	return code;
}

/* The table */

static bool is_served_otherwise(const struct method_param *param, const struct command *command)
{
	if (strcmp(param->name, "if_generation") == 0 || strcmp(param->name, "dry_run") == 0)
		return true; /* options */
	if (strcmp(param->name, "text") != 0)
		return false;
	for (size_t i = 0; i < command->n_params; i++)
		if (command->param[i].kind == VALUE_FILE)
			return true; /* the text of the file */
	return false;
}

static bool has_param(const struct command *command, const char *name)
{
	for (size_t i = 0; i < command->n_params; i++)
		if (!command->param[i].is_own && strcmp(command->param[i].name, name) == 0)
			return true;
	return false;
}

/* `sluice capture` calls them after capture.begin. */
static bool is_called_along(const char *method)
{
	return strcmp(method, "capture.read") == 0 || strcmp(method, "capture.stop") == 0;
}

Test(cli, every_method_is_reached_by_exactly_one_command)
{
	size_t n;
	const struct command *table = command_table(&n);

	for (size_t m = 0; m < N_METHODS; m++) {
		const char *name = method_table()[m].name;
		size_t n_found = 0;

		for (size_t i = 0; i < n; i++)
			n_found += table[i].method && strcmp(table[i].method, name) == 0;
		cr_expect_eq(n_found, !is_called_along(name), "%s: %zu commands", name, n_found);
	}
}

Test(cli, every_parameter_of_a_method_can_be_given)
{
	size_t n;
	const struct command *table = command_table(&n);

	for (size_t i = 0; i < n; i++) {
		const struct method *method = table[i].method ? method_find(table[i].method) : NULL;

		for (size_t k = 0; method && k < method->n_params; k++)
			cr_expect(has_param(&table[i], method->params[k].name) ||
					  is_served_otherwise(&method->params[k], &table[i]),
				  "%s: %s cannot be given", method->name, method->params[k].name);
	}
}

Test(cli, every_parameter_of_a_command_is_its_methods)
{
	size_t n;
	const struct command *table = command_table(&n);

	for (size_t i = 0; i < n; i++) {
		cr_expect(!table[i].method || method_find(table[i].method), "%s: no such method",
			  table[i].method);
		cr_expect_leq(table[i].n_params, COMMAND_MAX_PARAMS);
		for (size_t k = 0; k < table[i].n_params; k++) {
			const struct command_param *param = &table[i].param[k];
			const struct method_param *source = command_method_param(&table[i], param);

			cr_expect(param->is_own || source, "%s %s: %s is no parameter",
				  table[i].noun, table[i].verb, param->name);
			if (!source || param->word || param->kind == VALUE_FILE)
				continue;
			cr_expect_eq(source->is_required, !param->is_optional,
				     "%s: required here and optional there", param->name);
		}
	}
}

Test(cli, every_row_says_what_it_is)
{
	size_t n;
	const struct command *table = command_table(&n);

	for (size_t i = 0; i < n; i++) {
		cr_expect(command_summary(&table[i])[0], "%s: no summary", table[i].noun);
		cr_expect(table[i].description && table[i].description[0]);
		cr_expect(table[i].example[0], "%s: no example", table[i].noun);
		cr_expect(table[i].print || table[i].runner == COMMAND_COMPLETES ||
			  table[i].runner == COMMAND_WATCHES ||
			  table[i].runner == COMMAND_FOLLOWS || table[i].runner == COMMAND_READS ||
			  table[i].runner == COMMAND_CAPTURES);
		cr_expect(!table[i].verb || command_noun_summary(table[i].noun));
		for (size_t k = 0; k < COMMAND_MAX_PARAMS; k++)
			cr_expect_eq(table[i].param[k].name != NULL, k < table[i].n_params,
				     "%s: n_params is wrong", table[i].noun);
		for (size_t k = 0; k < table[i].n_params; k++)
			cr_expect(command_param_help(&table[i], &table[i].param[k])[0]);
	}
}

Test(cli, every_example_is_a_good_command_line)
{
	size_t n;
	const struct command *table = command_table(&n);

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < COMMAND_MAX_EXAMPLES && table[i].example[k]; k++) {
			const char *from = table[i].example[k];
			char text[MAX_LINE];
			size_t used = 0;
			struct cli_options options;
			struct request request;
			struct rpc_error error;

			if (strncmp(from, "sluice ", 7) != 0) /* the shell's own */
				continue;
			for (from += 7; *from && *from != '>'; from++)
				if (*from != '\'')
					text[used++] = *from;
			text[used] = '\0';
			cr_expect_eq(parse(text, &options, &request, &error), CLI_DONE, "%s: %s",
				     text, error.message);
			cr_expect_eq(request.command, &table[i], "%s", text);
			request_fini(&request);
		}
	}
}

/* Good command lines */

Test(cli, good_command_lines_become_requests)
{
	static const struct {
		const char *line, *method, *params;
	} rows[] = {
		{"service add web 203.0.113.10:80/tcp", "service.add",
		 "{\"name\":\"web\",\"address\":\"203.0.113.10:80/tcp\"}"},
		{"service add web 203.0.113.10:80/tcp mode fullnat source 192.0.2.1 source "
		 "192.0.2.2",
		 "service.add",
		 "{\"name\":\"web\",\"address\":\"203.0.113.10:80/tcp\",\"mode\":\"fullnat\","
		 "\"source\":[\"192.0.2.1\",\"192.0.2.2\"]}"},
		{"service add d [2001:db8::1]:53/udp scheduler maglev slots 1009 timeout udp 30 "
		 "timeout embryonic 5",
		 "service.add",
		 "{\"name\":\"d\",\"address\":\"[2001:db8::1]:53/udp\",\"scheduler\":\"maglev\","
		 "\"slots\":1009,\"timeouts\":{\"udp\":30,\"embryonic\":5}}"},
		{"service add web 203.0.113.10:80/tcp mode fullnat source 192.0.2.1 source_ports "
		 "1024-65535 stateless_replies no proxy_protocol v2",
		 "service.add",
		 "{\"name\":\"web\",\"address\":\"203.0.113.10:80/tcp\",\"mode\":\"fullnat\","
		 "\"source\":[\"192.0.2.1\"],\"source_ports\":\"1024-65535\","
		 "\"stateless_replies\":false,\"proxy_protocol\":\"v2\"}"},
		{"service set web canary group v2 canary share_percent 0.5", "service.set",
		 "{\"name\":\"web\",\"canary\":{\"group\":\"v2\",\"share_percent\":0.5}}"},
		{"service set web canary share_percent 100", "service.set",
		 "{\"name\":\"web\",\"canary\":{\"share_percent\":100}}"},
		{"service set web canary group v2 canary sources "
		 "10.1.0.0/16,2001:db8::/32,192.0.2.7",
		 "service.set",
		 "{\"name\":\"web\",\"canary\":{\"group\":\"v2\",\"sources\":[\"10.1.0.0/16\","
		 "\"2001:db8::/32\",\"192.0.2.7\"]}}"},
		{"service set web canary sources none canary share_percent 5", "service.set",
		 "{\"name\":\"web\",\"canary\":{\"sources\":[],\"share_percent\":5}}"},
		{"backend set web 10.0.0.2:80 role backup group none", "backend.set",
		 "{\"service\":\"web\",\"address\":\"10.0.0.2:80\",\"role\":\"backup\",\"group\":"
		 "\"none\"}"},
		{"service set web stateless_replies yes source_ports 7", "service.set",
		 "{\"name\":\"web\",\"stateless_replies\":true,\"source_ports\":\"7\"}"},
		{"service add office 10.0.0.0/16 source 192.0.2.1 deny_source 10.0.1.0/24 "
		 "deny_destination 0.0.0.0/0 deny_source 10.0.2.7 flow_log no",
		 "service.add",
		 "{\"name\":\"office\",\"address\":\"10.0.0.0/16\",\"source\":[\"192.0.2.1\"],"
		 "\"deny_source\":[\"10.0.1.0/24\",\"10.0.2.7\"],\"deny_destination\":"
		 "[\"0.0.0.0/0\"],\"flow_log\":false}"},
		{"service set office deny_source none deny_destination 2001:db8::/32",
		 "service.set",
		 "{\"name\":\"office\",\"deny_source\":[],\"deny_destination\":"
		 "[\"2001:db8::/32\"]}"},
		{"service set web flow_log yes", "service.set",
		 "{\"name\":\"web\",\"flow_log\":true}"},
		{"service set web source none", "service.set", "{\"name\":\"web\",\"source\":[]}"},
		{"service delete web --dry-run --if-generation 7", "service.delete",
		 "{\"name\":\"web\",\"if_generation\":7,\"dry_run\":true}"},
		{"service delete -- web", "service.delete", "{\"name\":\"web\"}"},
		{"service show weight", "service.show", "{\"name\":\"weight\"}"},
		{"service show help", "service.show", "{\"name\":\"help\"}"},
		{"service list", "service.list", "{}"},
		{"serv l", "service.list", "{}"},
		{"b l", "backend.list", "{}"},
		{"backend list web", "backend.list", "{\"service\":\"web\"}"},
		{"backend add web 10.0.0.2:80 weight 0 state maint", "backend.add",
		 "{\"service\":\"web\",\"address\":\"10.0.0.2:80\",\"weight\":0,\"state\":"
		 "\"maint\"}"},
		{"backend set web 10.0.0.2:80 state drain", "backend.set",
		 "{\"service\":\"web\",\"address\":\"10.0.0.2:80\",\"state\":\"drain\"}"},
		{"--dry-run backend delete web [::1]:80", "backend.delete",
		 "{\"service\":\"web\",\"address\":\"[::1]:80\",\"dry_run\":true}"},
		{"flow list", "flow.list", "{}"},
		{"flow list limit 5 client 2001:db8::7 service web", "flow.list",
		 "{\"limit\":5,\"client\":\"2001:db8::7\",\"service\":\"web\"}"},
		{"flow list client [2001:db8::7]:99", "flow.list",
		 "{\"client\":\"[2001:db8::7]:99\"}"},
		{"flow count service web", "flow.count", "{\"service\":\"web\"}"},
		{"explain udp 1.2.3.4:5 6.7.8.9:10", "explain",
		 "{\"protocol\":\"udp\",\"source\":\"1.2.3.4:5\",\"destination\":\"6.7.8.9:10\"}"},
		{"counters", "counters", "{}"},
		{"counters all service web", "counters", "{\"service\":\"web\"}"},
		{"stat", "status", "{}"},
		{"check x.yaml live", "config.check", "{}"},
		{"diff -", "config.diff", "{}"},
		{"apply x.yaml --if-gen 3", "config.apply", "{\"if_generation\":3}"},
		{"export", "config.export", "{}"},
		{"methods", "methods", "{}"},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct cli_options options;
		struct request request;
		struct rpc_error error;
		json_t *wanted = json_loads(rows[i].params, 0, NULL);
		int code = parse(rows[i].line, &options, &request, &error);

		cr_expect_eq(code, CLI_DONE, "%s: %s", rows[i].line, error.message);
		if (!code) {
			cr_expect_not_null(request.command, "%s", rows[i].line);
			cr_expect_str_eq(request.command->method, rows[i].method);
			cr_expect(json_equal(request.params, wanted), "%s", rows[i].line);
		}
		json_decref(wanted);
		request_fini(&request);
	}
}

Test(cli, what_a_request_sends_is_accepted_by_the_method_table)
{
	struct cli_options options;
	struct request request;
	struct rpc_error error;

	cr_assert_eq(parse("service add web 1.2.3.4:5/tcp slots 65537 timeout udp 1 source none",
			   &options, &request, &error),
		     CLI_DONE);
	cr_assert_eq(method_check(method_find(request.command->method), request.params, &error),
		     RPC_OK, "%s", error.message);
	request_fini(&request);
}

Test(cli, options_are_read_wherever_they_stand)
{
	struct cli_options options;
	struct request request;
	struct rpc_error error;

	cr_assert_eq(parse("-s /a service --timeout 5 list -j -c f", &options, &request, &error),
		     CLI_DONE, "%s", error.message);
	cr_expect(options.is_json);
	cr_expect_eq(options.timeout_sec, 5);
	request_fini(&request);
}

Test(cli, the_clis_own_words_are_not_sent)
{
	struct cli_options options;
	struct request request;
	struct rpc_error error;

	cr_assert_eq(parse("check - live", &options, &request, &error), CLI_DONE);
	cr_expect(json_is_true(json_object_get(request.own, "live")));
	cr_expect_str_eq(json_string_value(json_object_get(request.own, "file")), "-");
	cr_expect_eq(json_object_size(request.params), 0);
	request_fini(&request);
}

Test(cli, help_is_found_at_every_level)
{
	static const struct {
		const char *line, *noun, *verb;
	} rows[] = {
		{"help", NULL, NULL},
		{"-h", NULL, NULL},
		{"help help", NULL, NULL},
		{"service help", "service", NULL},
		{"service -h", "service", NULL},
		{"help service", "service", NULL},
		{"help service add", "service", "add"},
		{"h s a", NULL, NULL}, /* ambiguous */
		{"help serv a", "service", "add"},
		{"service add -h", "service", "add"},
		{"service add web --help slots", "service", "add"},
		{"explain help", "explain", NULL},
		{"help explain", "explain", NULL},
		{"status -h", "status", NULL},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct cli_options options;
		struct request request;
		struct rpc_error error;
		int code = parse(rows[i].line, &options, &request, &error);

		if (strcmp(rows[i].line, "h s a") == 0) {
			cr_expect_eq(code, CLI_USAGE);
			request_fini(&request);
			continue;
		}
		cr_expect_eq(code, CLI_DONE, "%s: %s", rows[i].line, error.message);
		cr_expect(request.is_help, "%s", rows[i].line);
		cr_expect((request.noun == NULL) == (rows[i].noun == NULL) &&
				  (!rows[i].noun || strcmp(rows[i].noun, request.noun) == 0),
			  "%s", rows[i].line);
		if (rows[i].verb)
			cr_expect(request.command &&
					  strcmp(request.command->verb, rows[i].verb) == 0,
				  "%s", rows[i].line);
		request_fini(&request);
	}
}

/* Bad command lines */

Test(cli, bad_command_lines_are_refused_and_name_the_word)
{
	static const struct {
		const char *line, *part;
	} rows[] = {
		{"", "a command is missing, known are: service"},
		{"srvice list", "\"srvice\": no such command"},
		{"s list", "\"s\" is ambiguous: service, status"},
		{"c", "\"c\" is ambiguous: capture, counters, check, completion"},
		{"~", "\"\" is ambiguous"},
		{"service", "service: a command is missing, known are: add, set"},
		{"service remove web", "\"remove\": no such command of service"},
		{"service s web", "\"s\" is ambiguous of service: set, show"},
		{"service add", "service add: NAME is missing"},
		{"service add web", "ADDR:PORT/tcp|udp is missing"},
		{"service add -x 1.2.3.4:5/tcp", "-x: no such option"},
		{"service add .web 1.2.3.4:5/tcp", "NAME is \".web\", must be made of"},
		{"service add ~ 1.2.3.4:5/tcp", "NAME is \"\", must be of 1 to 63 bytes"},
		{"service add aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
		 "1.2.3.4:5/tcp",
		 "must be of 1 to 63 bytes"},
		{"service add web 1.2.3.4:5", "1.2.3.4:5"},
		{"service add web 1.2.3.4/tcp", "1.2.3.4/tcp"},
		{"service add web 1.2.3.4:5/sctp", "1.2.3.4:5/sctp"},
		{"service add web 1.2.3.4:70000/tcp", "1.2.3.4:70000/tcp"},
		{"service add web 2001:db8::1:80/tcp", "2001:db8::1:80/tcp"},
		{"service add web 1.2.3.4:5/tcp mode", "a value is missing after mode"},
		{"service add web 1.2.3.4:5/tcp mode dsr", "mode is \"dsr\", must be nat|fullnat"},
		{"service add web 1.2.3.4:5/tcp mode nat mode nat", "\"mode\": is given twice"},
		{"service add web 1.2.3.4:5/tcp speed 3",
		 "\"speed\": no such keyword, known are: mode"},
		{"service add web 1.2.3.4:5/tcp scheduler rr",
		 "scheduler is \"rr\", must be maglev|source_hash|round_robin"},
		{"service add web 1.2.3.4:5/tcp slots ten",
		 "slots is \"ten\", must be a whole number"},
		{"service add web 1.2.3.4:5/tcp source_ports 9-8",
		 "source_ports \"9-8\": the first port is above the last"},
		{"service add web 1.2.3.4:5/tcp source_ports 0",
		 "source_ports \"0\": not LOW-HIGH or one port (limit 1..65535)"},
		{"service add web 1.2.3.4:5/tcp stateless_replies true",
		 "stateless_replies is \"true\", must be yes|no"},
		{"service add web 1.2.3.4:5/tcp stateless_replies yes stateless_replies no",
		 "is given twice"},
		{"service set o deny_source 10.0.0.1/8",
		 "deny_source \"10.0.0.1/8\": the address has bits beyond the prefix"},
		{"service set o deny_source 10.0.0.0/33",
		 "deny_source \"10.0.0.0/33\": the length of the prefix is not a number of 0..32"},
		{"service set o deny_destination ::/129", "is not a number of 0..128"},
		{"service set o deny_destination /8",
		 "deny_destination \"/8\": neither ADDR/LENGTH nor ADDR"},
		{"service set o deny_destination none deny_destination 10.0.0.0/8",
		 "\"none\" stands alone"},
		{"service set o deny_destination", "a value is missing after deny_destination"},
		{"service add web 1.2.3.4:5/tcp flow_log on", "flow_log is \"on\", must be yes|no"},
		{"service add web 1.2.3.4:5/tcp proxy_protocol v1",
		 "proxy_protocol is \"v1\", must be none|v2"},
		{"service add web 1.2.3.4:5/tcp source 10.0.0.256",
		 "source \"10.0.0.256\": not an IPv4 or IPv6 address"},
		{"service add web 1.2.3.4:5/tcp slots 1", "slots is \"1\", must be 251..1048573"},
		{"service add web 1.2.3.4:5/tcp slots 1e3",
		 "slots is \"1e3\", must be a whole number"},
		{"service add web 1.2.3.4:5/tcp slots 0x400", "slots is \"0x400\""},
		{"service add web 1.2.3.4:5/tcp slots 99999999999999999999",
		 "slots is \"99999999999999999999\", must be 251..1048573"},
		{"service add web 1.2.3.4:5/tcp timeout", "a value is missing after timeout"},
		{"service add web 1.2.3.4:5/tcp timeout idle 3",
		 "timeout is \"idle\", must be established|transitory|embryonic|udp"},
		{"service add web 1.2.3.4:5/tcp timeout udp",
		 "SECONDS is missing after timeout udp"},
		{"service set web canary share_percent 100.5",
		 "canary share_percent is \"100.5\", must be 0..100, with two decimals at most"},
		{"service set web canary share_percent 0.125", "canary share_percent is \"0.125\""},
		{"service set web canary weight 5",
		 "canary is \"weight\", must be group|share_percent|sources"},
		{"service set web canary sources 10.1.0.0/16,10.1.0.1/16",
		 "canary sources \"10.1.0.1/16\": the address has bits beyond the prefix"},
		{"service set web canary sources 10.1.0.0/16,,10.2.0.0/16",
		 "canary sources \"\": neither ADDR/LENGTH nor ADDR"},
		{"service set web canary sources 10.1.0.0/16,", "canary sources \"\""},
		{"service set web canary sources none,10.1.0.0/16", "canary sources \"none\""},
		{"service set web canary sources none canary sources none",
		 "\"canary sources\": is given twice"},
		{"service add web 1.2.3.4:5/tcp canary group v2", "\"canary\": no such keyword"},
		{"backend add web 1.2.3.4:5 role spare",
		 "role is \"spare\", must be active|backup|sorry"},
		{"service add web 1.2.3.4:5/tcp timeout udp 0",
		 "timeout udp is \"0\", must be 1..604800"},
		{"service add web 1.2.3.4:5/tcp timeout udp 5s", "timeout udp is \"5s\""},
		{"service add web 1.2.3.4:5/tcp timeout udp 5 timeout udp 6",
		 "\"timeout udp\": is given twice"},
		{"service add web 1.2.3.4:5/tcp source 1.2.3", "1.2.3"},
		{"service add web 1.2.3.4:5/tcp source 1.2.3.4 source none",
		 "\"none\" stands alone"},
		{"service add web 1.2.3.4:5/tcp source none source 1.2.3.4",
		 "\"none\" stands alone"},
		{"service set web", "service set: nothing to set is given"},
		{"service delete", "service delete: NAME is missing"},
		{"service delete a b", "\"b\": one word too many"},
		{"service list x", "\"x\": one word too many"},
		{"service list --dry-run", "--dry-run\": this command changes nothing"},
		{"status --if-generation 4", "--if-generation\": this command changes nothing"},
		{"service delete a --if-generation x",
		 "--if-generation is \"x\", must be a whole number"},
		{"service delete a --if-generation -1",
		 "--if-generation is \"-1\", must be a whole number from 0"},
		{"backend", "backend: a command is missing"},
		{"backend add web", "ADDR:PORT is missing"},
		{"backend add web 10.0.0.2", "10.0.0.2"},
		{"backend add web 10.0.0.2:http", "10.0.0.2:http"},
		{"backend add web 10.0.0.2:80 weight", "a value is missing after weight"},
		{"backend add web 10.0.0.2:80 weight 70000",
		 "weight is \"70000\", must be 0..65535"},
		{"backend add web 10.0.0.2:80 weight -1", "-1"},
		{"backend add web 10.0.0.2:80 state down",
		 "state is \"down\", must be ready|drain|maint"},
		{"backend set web 10.0.0.2:80", "nothing to set is given"},
		{"backend delete web 10.0.0.2:80 now", "\"now\": one word too many"},
		{"backend list a b", "\"b\": one word too many"},
		{"flow", "flow: a command is missing"},
		{"flow list web", "\"web\": no such keyword, known are: service, client, limit"},
		{"flow list limit 0", "limit is \"0\", must be 1..10000"},
		{"flow list client nobody", "nobody"},
		{"flow count limit 3", "\"limit\": no such keyword, known are: service"},
		{"explain icmp 1.2.3.4:5 1.2.3.4:5", "\"icmp\", must be tcp|udp"},
		{"explain tcp 1.2.3.4:5", "DST:PORT is missing"},
		{"explain tcp 1.2.3.4 1.2.3.4:5", "1.2.3.4"},
		{"counters none", "\"none\": no such keyword, known are: service, all"},
		{"counters all all", "\"all\": is given twice"},
		{"check", "FILE is missing"},
		{"check a b", "\"b\": no such keyword, known are: live"},
		{"diff", "FILE is missing"},
		{"apply a b", "\"b\": one word too many"},
		{"export x", "\"x\": one word too many"},
		{"completion", "bash is missing"},
		{"completion zsh", "\"zsh\", must be bash"},
		{"plan", "FILE is missing"},
		{"plan a b", "\"b\": one word too many"},
		{"rollback", "N is missing"},
		{"rollback x", "N is \"x\", must be a whole number"},
		{"rollback 0", "N is \"0\", must be 1.."},
		{"rollback 3 4", "\"4\": one word too many"},
		{"help nothing", "\"nothing\": no such command"},
		{"help service add web", "help: \"web\": one word too many"},
		{"service help add", "help: \"add\": one word too many"},
		{"--nothing status", "--nothing: no such option"},
		{"-z status", "-z: no such option"},
		{"status -s", "-s: this option needs a value"},
		{"status --socket", "--socket: this option needs a value"},
		{"--json=yes status", "--json=yes: this option takes no value"},
		{"--timeout 0 status", "--timeout is \"0\", must be 1..86400"},
		{"--timeout soon status", "--timeout is \"soon\""},
		{"service show \xff", "is not UTF-8"},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct cli_options options;
		struct request request;
		struct rpc_error error;
		int code = parse(rows[i].line, &options, &request, &error);

		cr_expect_eq(code, CLI_USAGE, "%s: %d", rows[i].line, code);
		cr_expect(strstr(error.message, rows[i].part), "%s: says \"%s\", not \"%s\"",
			  rows[i].line, error.message, rows[i].part);
		cr_expect_eq(error.code, RPC_PARAMS, "%s", rows[i].line);
		request_fini(&request);
	}
}

Test(cli, more_sources_than_a_service_may_have_are_refused)
{
	char text[MAX_LINE] = "service set web";
	struct cli_options options;
	struct request request;
	struct rpc_error error;

	for (unsigned i = 0; i <= SL_MAX_SOURCES_PER_SERVICE; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
			       " source 10.0.0.%u", i);
	cr_assert_eq(parse(text, &options, &request, &error), CLI_USAGE);
	cr_expect(strstr(error.message, "one of at most 16"), "%s", error.message);
	request_fini(&request);
}

/* Output */

struct memory {
	char *text;
	size_t size;
	FILE *file;
};

static FILE *memory_begin(struct memory *memory)
{
	memory->file = open_memstream(&memory->text, &memory->size);
	cr_assert_not_null(memory->file);
	return memory->file;
}

static void expect_output(struct memory *memory, const char *wanted)
{
	(void)fclose(memory->file);
	cr_expect_str_eq(memory->text, wanted, "is:\n%s\nnot:\n%s", memory->text, wanted);
	free(memory->text);
}

static void expect_printed(command_print *print, const char *json, const char *own_json,
			   const char *wanted)
{
	json_t *result = json_loads(json, 0, NULL);
	json_t *own = json_loads(own_json, 0, NULL);
	struct memory memory;

	cr_assert(result && own, "%s", json);
	print(memory_begin(&memory), result, own);
	expect_output(&memory, wanted);
	json_decref(result);
	json_decref(own);
}

Test(cli, control_characters_are_shown_and_text_is_left_alone)
{
	static const struct {
		const char *text, *wanted;
	} rows[] = {
		{"plain", "plain"},
		{"", ""},
		{"a\nb\tc", "a\\x0ab\\x09c"},
		{"\x1b[31mred\x7f", "\\x1b[31mred\\x7f"},
		{"na\xc3\xafve \xe2\x82\xac \xf0\x9f\x8c\x8a",
		 "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x8c\x8a"},
		{"\xc2\x9b"
		 "31m",
		 "\\u{009b}31m"},
		{"\xe2\x80\xae"
		 "txt",
		 "\\u{202e}txt"},
		{"\xff\xc3", "\\xff\\xc3"},
		{"\xe2\x82", "\\xe2\\x82"},
		{"\xc0\xaf", "\\xc0\\xaf"},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
		struct memory memory;

		(void)text_print(memory_begin(&memory), rows[i].text);
		expect_output(&memory, rows[i].wanted);
	}
	cr_expect_eq(text_width("na\xc3\xafve"), 5);
	cr_expect_eq(text_width("\x1b"), 4);
}

Test(cli, services_are_listed_in_columns)
{
	expect_printed(
		output_services,
		"{\"services\":[{\"name\":\"web\",\"address\":\"203.0.113.10:80/"
		"tcp\",\"mode\":\"nat\","
		"\"scheduler\":\"maglev\",\"slots\":65537,\"owner\":\"file\",\"backends\":3,"
		"\"counters\":{\"flows\":1234567,\"packets_in\":5,\"bytes_in\":600}},"
		"{\"name\":\"d\\u00efns\",\"address\":\"[2001:db8::53]:53/udp\",\"mode\":\"nat\","
		"\"scheduler\":\"maglev\",\"owner\":\"api\",\"backends\":0}]}",
		"{}",
		"NAME  ADDRESS                MODE  SCHEDULER  BACKENDS    FLOWS  PACKETS-IN  "
		"BYTES-IN  OWNER\n"
		"web   203.0.113.10:80/tcp    nat   maglev            3  1234567           5       "
		"600  file\n"
		"d\xc3\xafns  [2001:db8::53]:53/udp  nat   maglev            0        -           "
		"-      "
		"   -  api\n");
}

Test(cli, an_empty_list_has_its_headings)
{
	expect_printed(output_services, "{\"services\":[]}", "{}",
		       "NAME  ADDRESS  MODE  SCHEDULER  BACKENDS  FLOWS  PACKETS-IN  BYTES-IN  "
		       "OWNER\n");
}

Test(cli, backends_show_their_share_and_the_flows_that_live)
{
	expect_printed(
		output_backends,
		"{\"backends\":[{\"service\":\"web\",\"address\":\"10.0.0.2:80\",\"weight\":1,"
		"\"state\":\"drain\",\"slots\":10,\"share\":0.12345,\"neighbour\":true,"
		"\"counters\":{\"flows\":9,\"flows_ended\":7,\"flows_open\":2,\"packets_in\":1,"
		"\"bytes_in\":2,"
		"\"packets_out\":3,\"bytes_out\":4}},"
		"{\"service\":\"web\",\"address\":\"10.0.0.3:80\",\"weight\":1,\"state\":"
		"\"ready\"}]}",
		"{}",
		"SERVICE  ADDRESS      STATE  HEALTH  WEIGHT   SHARE  NEIGHBOUR  FLOWS  OPEN  "
		"PACKETS-IN  BYTES-IN  PACKETS-OUT  BYTES-OUT\n"
		"web      10.0.0.2:80  drain  -            1  12.35%  yes            9     2       "
		"    "
		"1         2            3          4\n"
		"web      10.0.0.3:80  ready  -            1       -  -              -     -       "
		"    "
		"-         -            -          -\n");
}

Test(cli, backends_that_are_checked_show_how_it_went)
{
	expect_printed(
		output_backends,
		"{\"backends\":[{\"service\":\"web\",\"address\":\"10.0.0.2:80\",\"health\":\"up\","
		"\"check\":{\"checks\":2,\"reason\":\"\",\"took_seconds\":0.00123,"
		"\"hint\":{\"failed\":14,\"openings\":20,\"seconds\":1,\"ago_seconds\":5,\"probed_"
		"seconds\":0.012}}},"
		"{\"service\":\"web\",\"address\":\"10.0.0.3:80\",\"health\":\"down\","
		"\"check\":{\"checks\":2,\"reason\":\"status 500\",\"panic\":true,"
		"\"hint\":{\"failed\":14,\"openings\":20,\"seconds\":1.02,\"ago_seconds\":59}}},"
		"{\"service\":\"web\",\"address\":\"10.0.0.4:80\",\"health\":\"down\","
		"\"check\":{\"checks\":2,\"reason\":\"\",\"took_seconds\":1,\"held_seconds\":3.9,"
		"\"hint\":{\"failed\":14,\"openings\":20,\"seconds\":1,\"ago_seconds\":61}}},"
		"{\"service\":\"web\",\"address\":\"10.0.0.5:80\",\"health\":\"unknown\","
		"\"check\":{\"checks\":0,\"reason\":\"\"}},"
		"{\"service\":\"web\",\"address\":\"10.0.0.6:80\",\"health\":\"down\","
		"\"check\":{\"checks\":0,\"reason\":\"9 of 9 openings failed in 1.0 "
		"s\",\"held_seconds\":2}},"
		"{\"service\":\"web\",\"address\":\"10.0.0.7:80\",\"health\":\"up\","
		"\"check\":{\"checks\":0,\"reason\":\"\","
		"\"hint\":{\"failed\":9,\"openings\":9,\"seconds\":1,\"ago_seconds\":1}}}]}",
		"{}",
		"SERVICE  ADDRESS      STATE  HEALTH   WEIGHT  SHARE  NEIGHBOUR  FLOWS  OPEN  "
		"PACKETS-IN  BYTES-IN  PACKETS-OUT  BYTES-OUT  LAST-CHECK\n"
		"web      10.0.0.2:80  -      up            -      -  -              -     -       "
		"    "
		"-         -            -          -  ok in 1.2 ms; hint: 14 of 20 openings failed "
		"in 1.0 s, "
		"probed 12 ms later\n"
		"web      10.0.0.3:80  -      down          -      -  -              -     -       "
		"    "
		"-         -            -          -  status 500; used all the same; hint: 14 of "
		"20 "
		"openings failed in 1.0 s\n"
		"web      10.0.0.4:80  -      down          -      -  -              -     -       "
		"    "
		"-         -            -          -  ok in 1000.0 ms; held down for 4 s more\n"
		"web      10.0.0.5:80  -      unknown       -      -  -              -     -       "
		"    "
		"-         -            -          -  -\n"
		"web      10.0.0.6:80  -      down          -      -  -              -     -       "
		"    "
		"-         -            -          -  9 of 9 openings failed in 1.0 s; held down "
		"for 2 s "
		"more\n"
		"web      10.0.0.7:80  -      up            -      -  -              -     -       "
		"    "
		"-         -            -          -  hint: 9 of 9 openings failed in 1.0 s\n");
}

Test(cli, backends_with_roles_show_them_and_whom_new_flows_go_to)
{
	expect_printed(
		output_backends,
		"{\"backends\":[{\"service\":\"web\",\"address\":\"10.0.0.2:80\",\"role\":"
		"\"active\",\"group\":\"v2\",\"in_use\":true},{\"service\":\"web\",\"address\":"
		"\"10.0.0.3:80\",\"role\":\"sorry\",\"in_use\":false}]}",
		"{}",
		"SERVICE  ADDRESS      STATE  HEALTH  WEIGHT  ROLE    GROUP  IN-USE  SHARE  "
		"NEIGHBOUR  FLOWS  OPEN  PACKETS-IN  BYTES-IN  PACKETS-OUT  BYTES-OUT\n"
		"web      10.0.0.2:80  -      -            -  active  v2     yes         -  "
		"-              -     -           -         -            -          -\n"
		"web      10.0.0.3:80  -      -            -  sorry   -      no          -  "
		"-              -     -           -         -            -          -\n");
}

Test(cli, changes_say_what_became_of_them)
{
	expect_printed(
		output_changes,
		"{\"generation\":7,\"applied\":true,\"dry_run\":false,\"changes\":[{\"text\":"
		"\"+ service web\"}],\"n_changes\":3}",
		"{}", "+ service web\n... and 2 more\ngeneration 7, applied\n");
	expect_printed(
		output_changes,
		"{\"generation\":7,\"applied\":false,\"dry_run\":true,\"changes\":[{\"text\":"
		"\"+ x\\u001b\"}],\"n_changes\":1}",
		"{}", "+ x\\x1b\ndry run, nothing was changed, generation 7\n");
	expect_printed(output_changes,
		       "{\"generation\":8,\"applied\":false,\"changes\":[{\"text\":\"- y\"}]}",
		       "{}", "- y\ngeneration 8, saved; the dataplane does not have it yet\n");
	expect_printed(output_changes, "{\"generation\":8,\"applied\":true,\"changes\":[]}", "{}",
		       "no change, generation 8, applied\n");
	expect_printed(output_diff, "{\"changes\":[],\"n_changes\":0}", "{}", "no difference\n");
}

Test(cli, counters_that_are_zero_are_shown_on_demand)
{
	static const char result[] =
		"{\"verdicts\":{\"forward\":3,\"reply\":0},\"events\":{\"rx_bytes\":"
		"12,\"unheard_of\":1},\"workers\":[]}";

	expect_printed(output_counters, result, "{}",
		       "COUNTER     VALUE  UNIT     MEANING\n"
		       "forward         3  packets  client to backend, rewritten and sent\n"
		       "rx_bytes       12  bytes    bytes received from ports\n"
		       "unheard_of      1  -        -\n");
	expect_printed(output_counters, result, "{\"all\":true}",
		       "COUNTER     VALUE  UNIT     MEANING\n"
		       "forward         3  packets  client to backend, rewritten and sent\n"
		       "reply           0  packets  backend to client, rewritten and sent\n"
		       "rx_bytes       12  bytes    bytes received from ports\n"
		       "unheard_of      1  -        -\n");
	expect_printed(output_counters, "{\"verdicts\":{\"forward\":0},\"events\":{}}", "{}",
		       "all counters are zero; \"all\" shows them\n");
}

Test(cli, an_explanation_names_each_step)
{
	expect_printed(
		output_explanation,
		"{\"verdict\":\"forward\",\"service\":\"web\",\"backend\":\"10.0.0.2:80\",\"slot\":"
		"7,\"hash\":\"00ff\",\"existing_flow\":false,\"steps\":[{\"step\":\"service\","
		"\"text\":\"web\"}]}",
		"{}",
		"STEP  NAME     WHAT\n"
		"   1  service  web\n"
		"\n"
		"verdict       forward\n"
		"service       web\n"
		"backend       10.0.0.2:80\n"
		"slot          7\n"
		"hash          00ff\n"
		"existing flow no\n");
}

Test(cli, results_of_another_shape_do_no_harm)
{
	static const char *const shapes[] = {
		"{}",
		"[]",
		"{\"services\":{},\"backends\":3,\"flows\":[1,null],\"steps\":[[]],"
		"\"changes\":\"x\",\"n_changes\":\"y\",\"verdicts\":[],\"methods\":[7],"
		"\"ports\":[[]],\"workers\":[null],\"text\":5,\"service\":\"x\"}",
	};
	size_t n;
	const struct command *table = command_table(&n);

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < SL_ARRAY_LEN(shapes) && table[i].print; k++) {
			json_t *shape = json_loads(shapes[k], 0, NULL);
			struct memory memory;

			table[i].print(memory_begin(&memory), shape, shape);
			(void)fclose(memory.file);
			free(memory.text);
			json_decref(shape);
		}
	}
}

Test(cli, an_error_is_a_document_for_programs)
{
	struct rpc_error error;
	json_t *document;
	struct memory memory;

	rpc_error_set(&error, RPC_PARAMS, "weight", "weight is 70000");
	rpc_error_data(&error, "70000", "0..65535");
	document = output_error_json(&error);
	output_json(memory_begin(&memory), document, false);
	expect_output(&memory,
		      "{\"error\":{\"code\":-32602,\"message\":\"weight is 70000\",\"data\":{"
		      "\"field\":\"weight\",\"value\":\"70000\",\"limit\":\"0..65535\"}}}\n");
	json_decref(document);
}

/* Help and completion */

Test(cli, help_of_a_command_names_all_its_parameters)
{
	size_t n;
	const struct command *table = command_table(&n);

	for (size_t i = 0; i < n; i++) {
		struct memory memory;

		help_command(memory_begin(&memory), &table[i]);
		(void)fclose(memory.file);
		for (size_t k = 0; k < table[i].n_params; k++) {
			char place[128];

			command_param_usage(&table[i], &table[i].param[k], place, sizeof(place));
			cr_expect(strstr(memory.text, place), "%s: %s", table[i].noun, place);
		}
		for (const char *at = memory.text; *at; at += strcspn(at, "\n") + 1)
			cr_expect_leq(strcspn(at, "\n"), 100, "%.120s", at);
		free(memory.text);
	}
}

Test(cli, usage_lines_are_made_from_the_table)
{
	struct cli_options options;
	struct request request;
	struct rpc_error error;
	char usage[512];

	cr_assert_eq(parse("backend add", &options, &request, &error), CLI_USAGE);
	cr_assert_not_null(request.command);
	command_usage(request.command, usage, sizeof(usage));
	cr_expect_str_eq(usage, "sluice backend add SERVICE ADDR:PORT [weight N] [max_flows N] "
				"[state ready|drain|maint] "
				"[role active|backup|sorry] [group NAME]");
	request_fini(&request);
}

/* Calling */

Test(cli, no_daemon_is_told_with_path_and_reason)
{
	struct rpc_error error = {0};
	json_t *result, *params = json_object();

	cr_assert_eq(call("/nonexistent/control.sock", 1, "status", params, &result, &error),
		     CLI_NOT_CONNECTED);
	cr_expect(strstr(error.message, "/nonexistent/control.sock: connect: No such file"), "%s",
		  error.message);
	cr_expect_eq(call("", 1, "status", params, &result, &error), CLI_NOT_CONNECTED);
	json_decref(params);
}
