/*
 * llm_router.c
 *		The module's entry: what has to be set up when it is loaded.
 *
 * Everything that needs shared memory, workers or settings that cannot be
 * forged exists only when llm_router is in shared_preload_libraries.  Without
 * that, the SQL functions say so (LR010).
 */
#include "postgres.h"

#include "base/settings.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "net/http.h"
#include "secrets/keyring.h"
#include "secrets/redaction.h"
#include "state/admission.h"
#include "state/circuits.h"
#include "state/budgets.h"
#include "state/extension.h"
#include "state/ledger.h"
#include "state/rates.h"
#include "state/reencryption.h"
#include "state/refused_set.h"
#include "state/rounds.h"
#include "workers/workers.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;

	settings_init();
	keyring_init();
	extension_init();
	admission_init();
	circuits_init();
	budgets_init();
	rates_init();
	ledger_init();
	rounds_init();
	reencryption_init();
	refused_set_init();
	http_init();
	workers_init();
	redaction_init();
}
