/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See doctor.h. The table of checks, what is known before they begin, and how findings are shown. */
#include "control/cli/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/engine_choice.h"
#include "control/cli/call.h"
#include "control/cli/commands.h"
#include "control/cli/doctor_internal.h"
#include "control/cli/doctor_link.h"
#include "control/cli/parse.h"
#include "control/cli/table.h"
#include "control/rpc.h"

enum {
	ASK_SEC = 5, /* sluiced, at most */
	MAX_SOCKET = 512,
};

static const char default_config[] = "/etc/sluice/sluice.yaml";
static const char default_socket[] = "/run/sluice/control.sock";

static const char *const verdicts[N_DOCTOR_VERDICTS] = {"good", "note", "unknown", "warning",
							"fault"};

static const struct check {
	const char *id, *why;
	int engines;
	void (*look)(struct doctor *doctor);
} checks[] = {
#define X(function, id, engines, why) {id, why, DOCTOR_FOR_##engines, doctor_check_##function},
	DOCTOR_CHECK_LIST(X)
#undef X
};

/* What checks say */

__attribute__((format(printf, 1, 0))) static json_t *format_text(const char *format,
								 va_list arguments)
{
	char text[DOCTOR_TEXT * 2];

	if (!format)
		return json_null();
	(void)vsnprintf(text, sizeof(text), format, arguments);
	return json_string(text);
}

void doctor_report(struct doctor *doctor, enum doctor_verdict verdict, const char *object,
		   const char *found, const char *wanted, const char *command, ...)
{
	va_list arguments;
	json_t *mend;

	va_start(arguments, command);
	mend = format_text(command, arguments);
	va_end(arguments);
	json_array_append_new(doctor->findings,
			      json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s, s:o}", "check", doctor->id,
					"object", object, "verdict", verdicts[verdict], "found",
					found, "wanted", wanted, "why", doctor->why, "command",
					mend));
}

void doctor_report_unknown(struct doctor *doctor, const char *object, int number)
{
	char found[128];
	bool is_denied = number == EACCES || number == EPERM;

	(void)snprintf(found, sizeof(found), "could not be looked at: %s", strerror(number));
	doctor_report(doctor, DOCTOR_UNKNOWN, object, found, NULL, is_denied ? "%s" : NULL,
		      "sudo sluice doctor");
}

bool doctor_has_engine(const struct doctor *doctor, const char *engine)
{
	return doctor->engine && strcmp(doctor->engine, engine) == 0;
}

bool doctor_runs(const struct doctor *doctor, const char *engine)
{
	const char *running = json_string_value(json_object_get(doctor->status, "engine"));

	return running && strcmp(running, engine) == 0 &&
	       json_is_true(json_object_get(doctor->status, "connected"));
}

/* The configuration, and sluiced */

void doctor_check_config(struct doctor *doctor)
{
	const char *other = json_string_value(json_object_get(doctor->status, "config_file"));

	if (doctor->config)
		doctor_report(doctor, DOCTOR_GOOD, doctor->config_file, "is read", NULL, NULL);
	else if (other && strcmp(other, doctor->config_file) != 0)
		doctor_report(doctor, DOCTOR_FAULT, doctor->config_file, doctor->config_problem,
			      "a configuration", "sluice doctor -c %s   # what sluiced reads",
			      other);
	else
		doctor_report(doctor, DOCTOR_FAULT, doctor->config_file, doctor->config_problem,
			      "a configuration", "sluice check %s", doctor->config_file);
}

void doctor_check_engine(struct doctor *doctor)
{
	char found[DOCTOR_TEXT];

	(void)snprintf(found, sizeof(found), "%s (%s)", doctor->engine, doctor->engine_reason);
	doctor_report(doctor, DOCTOR_GOOD, "dataplane.engine", found, NULL, NULL);
}

void doctor_check_daemon(struct doctor *doctor)
{
	if (doctor->status)
		doctor_report(doctor, DOCTOR_GOOD, doctor->socket, "answers", NULL, NULL);
	else if (doctor->root[0])
		doctor_report(doctor, DOCTOR_UNKNOWN, "sluiced", "is not asked about another root",
			      NULL, NULL);
	else if (doctor->is_denied)
		doctor_report(doctor, DOCTOR_UNKNOWN, doctor->socket, doctor->daemon_reason,
			      "root, or a member of the API's group", "sudo sluice doctor");
	else
		doctor_report(doctor, DOCTOR_NOTE, doctor->socket, doctor->daemon_reason,
			      "sluiced, once the host is ready", "systemctl start sluiced");
}

void doctor_check_daemon_step(struct doctor *doctor)
{
	const char *reason = json_string_value(json_object_get(doctor->status, "reason"));

	if (!doctor->status)
		return; /* daemon says so */
	if (json_is_true(json_object_get(doctor->status, "in_step")))
		doctor_report(doctor, DOCTOR_GOOD, "dataplane", "connected and in step", NULL,
			      NULL);
	else
		doctor_report(doctor, DOCTOR_FAULT, "dataplane",
			      reason && reason[0] ? reason : "is not in step",
			      "connected and in step", "systemctl restart sluice-%s",
			      doctor->engine);
}

void doctor_check_daemon_engine(struct doctor *doctor)
{
	const char *running = json_string_value(json_object_get(doctor->status, "engine"));

	if (!running)
		return;
	if (strcmp(running, doctor->engine) == 0)
		doctor_report(doctor, DOCTOR_GOOD, "dataplane", running, NULL, NULL);
	else
		doctor_report(doctor, DOCTOR_WARNING, "dataplane", running, doctor->engine,
			      "in %s, under dataplane: engine: %s", doctor->config_file, running);
}

/* The examination */

void doctor_examine(struct doctor *doctor)
{
	int wanted = DOCTOR_FOR_ALL;

	if (doctor_has_engine(doctor, "dpdk"))
		wanted |= DOCTOR_FOR_DPDK;
	if (doctor_has_engine(doctor, "xdp"))
		wanted |= DOCTOR_FOR_XDP;
	for (size_t i = 0; i < SL_ARRAY_LEN(checks); i++) {
		if (!(checks[i].engines & wanted))
			continue;
		doctor->id = checks[i].id;
		doctor->why = checks[i].why;
		checks[i].look(doctor);
	}
}

/* The first error of a configuration that is none. */
static const char *first_problem(const struct config_problems *problems, int status)
{
	for (size_t i = 0; i < problems->n; i++)
		if (!problems->problem[i].is_warning)
			return problems->problem[i].text;
	return strerror(-status);
}

static void find_engine(struct doctor *doctor)
{
	char folder[DOCTOR_TEXT];

	(void)snprintf(folder, sizeof(folder), "%s/sys/kernel/mm/hugepages", doctor->root);
	doctor->engine = engine_choose(doctor->config, folder, doctor->engine_reason,
				       sizeof(doctor->engine_reason));
}

static void find_socket(const struct cli_options *options, const struct config *config,
			char path[MAX_SOCKET])
{
	const char *from_environment = getenv("SLUICE_SOCKET");

	if (options->socket)
		(void)snprintf(path, MAX_SOCKET, "%s", options->socket);
	else if (!options->config && from_environment && from_environment[0])
		(void)snprintf(path, MAX_SOCKET, "%s", from_environment);
	else if (config && config->run_dir[0])
		(void)snprintf(path, MAX_SOCKET, "%s/control.sock", config->run_dir);
	else
		(void)snprintf(path, MAX_SOCKET, "%s", default_socket);
}

/* What sluiced says; NULL: it does not answer, and @error says why. */
static json_t *ask_daemon(const struct cli_options *options, struct doctor *doctor,
			  struct rpc_error *error)
{
	json_t *status = NULL;
	int timeout_sec = options->timeout_sec < ASK_SEC ? options->timeout_sec : ASK_SEC;

	if (doctor->root[0])
		return NULL;
	if (call(doctor->socket, timeout_sec, "status", NULL, &status, error) == CLI_DONE)
		return status;
	doctor->daemon_reason = error->message; /* the object is named beside it */
	if (strncmp(error->message, doctor->socket, strlen(doctor->socket)) == 0)
		doctor->daemon_reason += strlen(doctor->socket) + strlen(": ");
	doctor->is_denied = access(doctor->socket, R_OK | W_OK) && errno == EACCES;
	return NULL;
}

static json_t *count(const json_t *findings, bool *is_bad)
{
	json_t *counts = json_object();
	const json_t *finding;
	size_t i, n[N_DOCTOR_VERDICTS] = {0};

	json_array_foreach(findings, i, finding)
	{
		const char *verdict = json_string_value(json_object_get(finding, "verdict"));

		for (size_t k = 0; k < N_DOCTOR_VERDICTS; k++)
			n[k] += strcmp(verdict, verdicts[k]) == 0;
	}
	for (size_t k = 0; k < N_DOCTOR_VERDICTS; k++)
		json_object_set_new(counts, verdicts[k], json_integer((json_int_t)n[k]));
	*is_bad = n[DOCTOR_WARNING] + n[DOCTOR_FAULT] > 0;
	return counts;
}

int doctor_run(const struct cli_options *options, const struct request *request, json_t **result)
{
	const char *root = json_string_value(json_object_get(request->own, "root"));
	struct config_problems problems = {0};
	struct rpc_error error = {0};
	struct config *config = NULL;
	char socket[MAX_SOCKET];
	json_t *status;
	bool is_bad;
	struct doctor doctor = {
		.root = root && strcmp(root, "/") != 0 ? root : "",
		.config_file = options->config ? options->config : default_config,
		.socket = socket,
		.findings = json_array(),
	};
	int code = config_load_file(doctor.config_file, &config, &problems);

	if (code)
		doctor.config_problem = first_problem(&problems, code);
	doctor.config = config;
	if (config)
		find_engine(&doctor);
	find_socket(options, config, socket);
	status = ask_daemon(options, &doctor, &error);
	doctor.status = status;
	doctor.read_link = doctor.root[0] ? NULL : doctor_link_read;
	doctor_examine(&doctor);
	*result =
		json_pack("{s:s?, s:s?, s:s, s:o, s:o}", "engine", doctor.engine, "engine_reason",
			  doctor.engine ? doctor.engine_reason : NULL, "config", doctor.config_file,
			  "counts", count(doctor.findings, &is_bad), "findings", doctor.findings);
	json_decref(status);
	config_free(config);
	return is_bad ? CLI_REFUSED : CLI_DONE;
}

/* For people */

static const char *text_of(const json_t *finding, const char *name)
{
	const char *text = json_string_value(json_object_get(finding, name));

	return text ? text : "";
}

static void show_finding(FILE *out, const json_t *finding, bool is_bad)
{
	const char *wanted = text_of(finding, "wanted"), *command = text_of(finding, "command");

	(void)fprintf(out, "%-8s %s  ", text_of(finding, "verdict"), text_of(finding, "check"));
	(void)text_print(out, text_of(finding, "object"));
	(void)fputs(": ", out);
	(void)text_print(out, text_of(finding, "found"));
	if (is_bad && wanted[0])
		(void)fputs("; wanted: ", out);
	if (is_bad)
		(void)text_print(out, wanted);
	(void)fputc('\n', out);
	if (!is_bad)
		return;
	(void)fprintf(out, "         %s\n", text_of(finding, "why"));
	if (command[0])
		(void)fputs("         mend: ", out);
	(void)text_print(out, command);
	if (command[0])
		(void)fputc('\n', out);
}

void output_doctor(FILE *out, const json_t *result, const json_t *own)
{
	const json_t *findings = json_object_get(result, "findings");
	const json_t *counts = json_object_get(result, "counts");
	bool is_all = json_object_get(own, "all") != NULL;
	const json_t *finding;
	size_t i;

	/* What is worst comes first. */
	for (size_t k = N_DOCTOR_VERDICTS; k-- > (is_all ? DOCTOR_GOOD : DOCTOR_NOTE);)
		json_array_foreach(findings, i, finding)
		{
			if (strcmp(text_of(finding, "verdict"), verdicts[k]) == 0)
				show_finding(out, finding, k != DOCTOR_GOOD);
		}
	for (i = N_DOCTOR_VERDICTS; i-- > 0;)
		(void)fprintf(out, "%s%" JSON_INTEGER_FORMAT " %s",
			      i + 1 == N_DOCTOR_VERDICTS ? "" : ", ",
			      json_integer_value(json_object_get(counts, verdicts[i])),
			      verdicts[i]);
	(void)fprintf(out, "; engine %s\n",
		      text_of(result, "engine")[0] ? text_of(result, "engine") : "-");
}
