/*
 * reencryption.h
 *		Sealing stored keys again: what a session asks of the worker that makes
 *		rounds, and what it hears.
 *
 * One re-encryption at a time in the whole server; who comes second waits.
 */
#ifndef LLM_ROUTER_REENCRYPTION_H
#define LLM_ROUTER_REENCRYPTION_H

#include "base/errors.h"

/* What a worker that makes way leaves to the next. */
typedef struct ReencryptionProgress
{
	char  actor[NAMEDATALEN]; /* the role that asked */
	int	  table;			  /* number of the table at hand */
	int64 last_id;			  /* done in it, in this pass */
	int	  passes;			  /* that came to their end */
	int64 keys;				  /* seen in this pass */
	int64 locked;			  /* of them, left for another pass */
	int64 changed;			  /* in all passes */
} ReencryptionProgress;

/*
 * Have the keys of this database sealed again, and wait until it is done; cancel
 * and the like act meanwhile, and leave what was done done.  *changed is how many
 * keys were changed, also when false comes back: with what the worker met, or LR010
 * when no worker came.
 */
extern bool reencryption_run(const char *actor, int64 *changed, LlmError *error);

/* In the launcher: the database in which it is to begin, or to go on; or InvalidOid. */
extern Oid reencryption_asked(void);

/* In the worker. */

/* Take over what was asked for in this database; false when nothing was. */
extern bool reencryption_take(ReencryptionProgress *progress);

/* Note how far it came; false when nobody waits for it any more. */
extern bool reencryption_note(const ReencryptionProgress *progress);

/* Leave the rest to another worker. */
extern void reencryption_put_back(void);

/* It has ended, as *error says (sqlstate 0: well). */
extern void reencryption_end(const LlmError *error);

/* Called once by _PG_init. */
extern void reencryption_init(void);

#endif /* LLM_ROUTER_REENCRYPTION_H */
