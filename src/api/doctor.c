/*
 * doctor.c
 *		What llm_doctor() can only learn from the server process.
 *
 * llm_server_checks(needed_master_key text) RETURNS TABLE(check_name text,
 * status text, detail text, hint text): the SQL function llm_doctor() puts the
 * checks of the tables behind these.  Works without preloading, since that is
 * the first check.
 */
#include "base/compat.h"

#include <curl/curl.h>
#include <openssl/crypto.h>

#include "access/xlog.h"
#include "api/arguments.h"
#include "base/settings.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "secrets/keyring.h"
#include "state/admission.h"
#include "state/ledger_ring.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(llm_server_checks);

static void
put_check(ReturnSetInfo *result, const char *check_name, const char *status,
		  const char *detail, const char *hint)
{
	Datum values[4];
	bool  nulls[4] = { false };

	values[0] = CStringGetTextDatum(check_name);
	values[1] = CStringGetTextDatum(status);
	values[2] = CStringGetTextDatum(detail);
	nulls[3] = hint == NULL;
	if (hint)
		values[3] = CStringGetTextDatum(hint);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static bool
is_llm_router(const char *library)
{
	const char *slash = strrchr(library, '/');
	const char *name = slash ? slash + 1 : library;

	return strcmp(name, "llm_router") == 0 || strcmp(name, "llm_router" DLSUFFIX) == 0;
}

/* Libraries that are loaded later see statements before keys are hidden in them. */
static void
check_preload(ReturnSetInfo *result)
{
	List		  *libraries = NIL;
	StringInfoData line;
	ListCell	  *cell;

	SplitDirectoriesString(pstrdup(shared_preload_libraries_string), ',', &libraries);
	if (libraries == NIL || is_llm_router(llast(libraries)))
	{
		put_check(result, "preload", "ok", "llm_router is preloaded", NULL);
		return;
	}
	initStringInfo(&line);
	foreach (cell, libraries)
		if (!is_llm_router(lfirst(cell)))
			appendStringInfo(&line, "%s, ", (const char *) lfirst(cell));
	put_check(result, "preload", "warning",
			  "llm_router is not the last of shared_preload_libraries: those after it may show keys in "
			  "statements",
			  psprintf("Set shared_preload_libraries = '%sllm_router' and restart the server.", line.data));
}

static void
check_launcher(ReturnSetInfo *result)
{
	bool running;

	LWLockAcquire(ledger_lock, LW_SHARED);
	running = ledger_ring->launcher_pid != 0;
	LWLockRelease(ledger_lock);

	if (running)
		put_check(result, "launcher", "ok", "the launcher is running", NULL);
	else if (RecoveryInProgress())
		put_check(result, "launcher", "ok", "the launcher starts when this standby is promoted", NULL);
	else
		put_check(result, "launcher", "error", "the launcher is not running",
				  "The server log says why it stopped.");
}

/* needed: the fingerprint of the key that this database's keys are sealed with, or NULL. */
static void
check_master_key(ReturnSetInfo *result, const char *needed)
{
	KeyringStatus keys;

	keyring_status(&keys);
	if (keys.problem)
		put_check(result, "master key", "error", keys.problem,
				  "Without it no stored key can be opened. See doc/keys.md.");
	else if (needed && !keyring_has(needed))
		put_check(result, "master key", "error",
				  psprintf("the keys of this database need the master key with fingerprint %s, "
						   "which is not configured",
						   needed),
				  "Configure that master key as well, or store the providers' keys again. See "
				  "doc/keys.md.");
	else if (keys.nkeys == 0)
		put_check(result, "master key", "ok",
				  "none yet: one is generated when the first key is stored",
				  "For production set llm_router.master_key_command or llm_router.master_key_file first.");
	else if (strcmp(keys.source, "generated file") == 0)
		put_check(result, "master key", "warning",
				  "generated in the data directory: a base backup carries it beside what it protects",
				  "Move it out of the data directory and set llm_router.master_key_file.");
	else
		put_check(result, "master key", "ok",
				  psprintf("%d from the %s, fingerprint %s", keys.nkeys, keys.source,
						   keys.fingerprint),
				  NULL);
}

/*
 * Names are looked up by threads only if libcurl was built so; otherwise a slow
 * resolver would hold up cancels.
 */
static void
check_libraries(ReturnSetInfo *result)
{
	const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
	char						 *detail = psprintf("libcurl %s with %s; %s", curl->version,
							curl->ssl_version ? curl->ssl_version : "no TLS",
													OpenSSL_version(OPENSSL_VERSION));

	if (curl->ssl_version == NULL)
		put_check(result, "libraries", "error", detail, "Install a libcurl with TLS.");
	else if ((curl->features & CURL_VERSION_ASYNCHDNS) == 0)
		put_check(result, "libraries", "warning", detail,
				  "Install a libcurl with an asynchronous resolver: with this one a slow name "
				  "server delays cancels.");
	else
		put_check(result, "libraries", "ok", detail, NULL);
}

static void
check_concurrency(ReturnSetInfo *result)
{
	int	  limit = admission_limit();
	int	  in_use = admission_in_use();
	char *detail = psprintf("%d of %d calls running", in_use, limit);

	if (in_use >= limit)
		put_check(result, "concurrency", "warning", detail,
				  "Further calls wait. Raise llm_router.max_concurrency if the server has "
				  "connections to spare.");
	else
		put_check(result, "concurrency", "ok", detail, NULL);
}

Datum
llm_server_checks(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	check_libraries(result);
	if (!settings_preloaded)
	{
		put_check(result, "preload", "error", "llm_router was not preloaded",
				  "Add llm_router to shared_preload_libraries, after all other libraries, and "
				  "restart the server.");
		return (Datum) 0;
	}
	check_preload(result);
	check_launcher(result);
	check_master_key(result, argument_string(fcinfo, 0));
	check_concurrency(result);
	return (Datum) 0;
}
