/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
#include "tests/bench/bench_api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/bench_report.h"

int api_open(struct api *api, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int status;

	*api = (struct api){0};
	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
		api->file = fdopen(fd, "r+");
	if (api->file != NULL)
		return 0;
	status = -errno;
	close(fd);
	return status;
}

void api_close(struct api *api)
{
	if (api->file != NULL)
		fclose(api->file);
	api->file = NULL;
}

static int send_call(struct api *api, const char *method, json_t *params)
{
	json_t *call =
		json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", ++api->id, "method",
			  method, "params", params != NULL ? params : json_object());
	char *text = call != NULL ? json_dumps(call, JSON_COMPACT) : NULL;
	int status = text != NULL && fprintf(api->file, "%s\n", text) > 0 ? 0 : -EIO;

	free(text);
	json_decref(call);
	return fflush(api->file) == 0 ? status : -errno;
}

json_t *api_call(struct api *api, const char *method, json_t *params)
{
	json_t *answer = NULL;
	json_t *result;
	char *line = NULL;
	size_t size = 0;

	if (send_call(api, method, params) == 0 && getline(&line, &size, api->file) > 0)
		answer = json_loads(line, 0, NULL);
	free(line);
	result = json_incref(json_object_get(answer, "result"));
	if (result == NULL)
		report_error("%s: %s", method,
			     answer == NULL
				     ? "no answer"
				     : json_string_value(json_object_get(
					       json_object_get(answer, "error"), "message")));
	json_decref(answer);
	return result;
}
