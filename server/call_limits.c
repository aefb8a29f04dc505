#include "call_limits.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash_table.h"
#include "base/memory.h"

enum { SHARDS = 32, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

/* Whom an entry is about: a workspace (no user), a person (no workspace), or, with both, a person who is known as a member. */
struct key {
    struct uuid workspace_id;
    struct uuid user_id;
};

struct limits_entry {
    struct hash_node node;
    struct key key;             /* constant */
    struct limits_shard *shard; /* constant */

    /* under the shard's lock */
    struct limits_entry *older; /* in the list of those that nobody holds */
    struct limits_entry *newer;
    size_t holds;   /* calls and imports */
    size_t calls;   /* under way */
    size_t imports; /* the same */
    struct limits_values values;
    int64_t loaded_ns; /* 0: never */
    bool is_wanted;
    /* The bucket, as a time: so far in the future are the calls of the last moments paid for. It is empty, and calls are refused,
     * when that is more than the burst's worth away. */
    int64_t paid_until_ns;
    int64_t unmetered;     /* calls since the values were set, where they have no rate */
    int64_t promised_ns;   /* when the last of those who were refused was told to come back */
    int64_t told_until_ns; /* the bucket of refusals, in the same way; those that it has no room for wait */
    uint64_t refused;      /* since the last report */
    int64_t next_report_ns;
};

struct limits_shard {
    pthread_mutex_t lock;
    /* under the lock */
    struct hash_table entries;
    struct limits_entry *oldest; /* of those that nobody holds */
    struct limits_entry *newest;
};

struct limits {
    struct limits_options options;
    size_t shard_entries_max;
    atomic_uint_fast64_t refused;
    struct limits_shard shards[SHARDS];
};

struct limits *limits_new(const struct limits_options *options)
{
    struct limits *limits = memory_new(sizeof(*limits));

    assert(options->entries_max > 0);
    limits->options = *options;
    limits->shard_entries_max = (options->entries_max + SHARDS - 1) / SHARDS;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&limits->shards[i].lock, NULL);
        hash_table_init(&limits->shards[i].entries, 16);
    }
    return limits;
}

/* --- Entries ------------------------------------------------------------------------------------------------------ */

static void list_remove(struct limits_entry *entry)
{
    struct limits_shard *shard = entry->shard;

    *(entry->older == NULL ? &shard->oldest : &entry->older->newer) = entry->newer;
    *(entry->newer == NULL ? &shard->newest : &entry->newer->older) = entry->older;
    entry->older = NULL;
    entry->newer = NULL;
}

static void list_append(struct limits_entry *entry)
{
    struct limits_shard *shard = entry->shard;

    entry->older = shard->newest;
    entry->newer = NULL;
    *(shard->newest == NULL ? &shard->oldest : &shard->newest->newer) = entry;
    shard->newest = entry;
}

static void entry_free(struct limits_entry *entry)
{
    assert(entry->holds == 0);
    list_remove(entry);
    hash_table_remove(&entry->shard->entries, &entry->node);
    free(entry);
}

/* Makes room for `more` entries: forgets those that have had no calls for the longest time. Under the lock. */
static void trim(const struct limits *limits, struct limits_shard *shard, size_t more)
{
    while (shard->entries.count + more > limits->shard_entries_max && shard->oldest != NULL)
        entry_free(shard->oldest);
}

void limits_free(struct limits *limits)
{
    if (limits == NULL)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        struct limits_shard *shard = &limits->shards[i];
        while (shard->oldest != NULL)
            entry_free(shard->oldest);
        assert(shard->entries.count == 0);
        hash_table_release(&shard->entries);
        pthread_mutex_destroy(&shard->lock);
    }
    free(limits);
}

static uint64_t key_hash(const struct key *key)
{
    return uuid_hash(&key->workspace_id) ^ (uuid_hash(&key->user_id) * UINT64_C(0x9e3779b97f4a7c15));
}

static struct limits_shard *shard_of(struct limits *limits, uint64_t hash)
{
    return &limits->shards[(hash >> 32) % SHARDS];
}

/* NULL when there is none. Under the lock. */
static struct limits_entry *entry_find(const struct limits_shard *shard, const struct key *key, uint64_t hash)
{
    struct hash_node *node = hash_table_first(&shard->entries, hash);

    for (; node != NULL; node = hash_table_next(node)) {
        struct limits_entry *entry = HASH_TABLE_MEMBER(node, struct limits_entry, node);
        if (uuid_equal(&entry->key.workspace_id, &key->workspace_id) && uuid_equal(&entry->key.user_id, &key->user_id))
            return entry;
    }
    return NULL;
}

/* Made when there is none. Under the lock. */
static struct limits_entry *entry_get(
    struct limits *limits, struct limits_shard *shard, const struct key *key, uint64_t hash)
{
    struct limits_entry *entry = entry_find(shard, key, hash);

    if (entry != NULL)
        return entry;
    trim(limits, shard, 1);
    entry = memory_new(sizeof(*entry));
    entry->key = *key;
    entry->shard = shard;
    entry->values = limits->options.standard;
    hash_table_add(&shard->entries, &entry->node, hash);
    list_append(entry);
    return entry;
}

/* --- Letting in --------------------------------------------------------------------------------------------------- */

static int32_t burst_of(const struct limits_values *values)
{
    return values->calls_burst == 0 ? values->calls_per_second : values->calls_burst;
}

static int64_t larger(int64_t left, int64_t right)
{
    return left > right ? left : right;
}

/* When somebody who is refused is to come back: when the next call is due, or the one after that when somebody else was told so
 * already. Who is not there at that time misses nothing: it is no reservation. */
static int32_t promise(struct limits_entry *entry, int64_t wait_ns, int64_t step_ns, int64_t now_ns)
{
    int64_t latest_ns = now_ns + larger(wait_ns, (int64_t)LIMITS_SPREAD_MS * NS_PER_MS);
    int64_t when_ns = larger(now_ns + wait_ns, entry->promised_ns + step_ns);

    entry->promised_ns = when_ns < latest_ns ? when_ns : latest_ns;
    return (int32_t)((entry->promised_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* Takes one out of a bucket of `rate` a second, `burst` at once: true, or false and how long it takes until there is one. */
static bool drain(int64_t *paid_until_ns, int32_t rate, int32_t burst, int64_t now_ns, int64_t *ret_wait_ns)
{
    int64_t step_ns = NS_PER_S / rate;
    int64_t next_ns = larger(*paid_until_ns, now_ns) + step_ns;

    *ret_wait_ns = next_ns - now_ns - step_ns * burst;
    if (*ret_wait_ns > 0)
        return false;
    *paid_until_ns = next_ns;
    return true;
}

static const char *name_of(const struct limits_entry *entry)
{
    return uuid_is_nil(&entry->key.user_id) ? "the workspace" : "the caller";
}

/* Takes one call out of the bucket. Under the lock. */
static bool take_token(struct limits_entry *entry, int64_t now_ns, struct error *reterr_error)
{
    const struct limits_values *values = &entry->values;
    int64_t wait_ns = 0;

    if (values->calls_per_second == 0) {
        entry->unmetered++;
        return true;
    }
    if (!drain(&entry->paid_until_ns, values->calls_per_second, burst_of(values), now_ns, &wait_ns))
        return error_set_full(reterr_error, promise(entry, wait_ns, NS_PER_S / values->calls_per_second, now_ns),
            "limits.calls_per_second: %s may make %d calls a second here, %d of them at once", name_of(entry),
            values->calls_per_second, burst_of(values));
    return true;
}

/* One more of what is counted. Under the lock, as the next. */
static void hold(struct limits_entry *entry, size_t *count)
{
    if (entry->holds++ == 0)
        list_remove(entry);
    (*count)++;
}

/* One less. */
static void let_go(const struct limits *limits, struct limits_entry *entry, size_t *count)
{
    assert(*count > 0);
    (*count)--;
    if (--entry->holds == 0) {
        list_append(entry);
        trim(limits, entry->shard, 0);
    }
}

/* Under the lock. */
static bool take(struct limits_entry *entry, int64_t now_ns, struct error *reterr_error)
{
    int32_t most = entry->values.calls_in_flight;

    if (most != 0 && entry->calls >= (size_t)most)
        return error_set_full(
            reterr_error, 0, "limits.calls_in_flight: %s may have %d calls under way here", name_of(entry), most);
    if (!take_token(entry, now_ns, reterr_error))
        return false;
    hold(entry, &entry->calls);
    return true;
}

/* Under the lock. */
static bool take_import(struct limits_entry *entry, struct error *reterr_error)
{
    int32_t most = entry->values.imports;

    if (most != 0 && entry->imports >= (size_t)most)
        return error_set_full(
            reterr_error, 0, "limits.imports: the workspace may have %d imports under way here", most);
    hold(entry, &entry->imports);
    return true;
}

/* When a refusal is to be told, 0 for at once. Callers that do not wait as they are told to are made to: each by another time, or those
 * that were refused together would come back together, to a bucket that has filled meanwhile. Under the lock. */
static int64_t when_to_tell(struct limits_entry *entry, int64_t now_ns)
{
    const int64_t step_ns = NS_PER_S / LIMITS_REFUSALS;
    int64_t free_ns = larger(entry->told_until_ns, now_ns) + step_ns - (int64_t)NS_PER_S;
    int64_t latest_ns = now_ns + (int64_t)LIMITS_LATE_MS * NS_PER_MS;

    if (free_ns > latest_ns)
        free_ns = latest_ns;
    entry->told_until_ns = free_ns + NS_PER_S;
    return free_ns > now_ns ? free_ns : 0;
}

/* Counts a refusal, and says in the hold what there is to say of it. Under the lock. */
static void count_refusal(struct limits_entry *entry, int64_t now_ns, struct limits_hold *hold)
{
    hold->tell_ns = when_to_tell(entry, now_ns);
    entry->refused++;
    if (now_ns < entry->next_report_ns)
        return;
    hold->refused = entry->refused;
    entry->refused = 0;
    entry->next_report_ns = now_ns + (int64_t)LIMITS_REPORT_MS * NS_PER_MS;
}

/* Whether its values have become wanted just now. Under the lock. */
static bool becomes_wanted(struct limits_entry *entry, int64_t now_ns)
{
    bool is_old = entry->loaded_ns == 0 || now_ns - entry->loaded_ns >= (int64_t)LIMITS_REFRESH_MS * NS_PER_MS;

    if (!is_old || entry->is_wanted || !uuid_is_nil(&entry->key.user_id))
        return false;
    entry->is_wanted = true;
    return true;
}

static bool is_known_member(struct limits *limits, const struct key *key)
{
    uint64_t hash = key_hash(key);
    struct limits_shard *shard = shard_of(limits, hash);

    pthread_mutex_lock(&shard->lock);
    struct limits_entry *entry = entry_find(shard, key, hash);
    if (entry != NULL) { /* the newest again */
        list_remove(entry);
        list_append(entry);
    }
    pthread_mutex_unlock(&shard->lock);
    return entry != NULL;
}

/* Lets in whom the entry has room for: a call, or an import. */
static bool enter(struct limits *limits, const struct key *key, bool is_import, int64_t now_ns,
    struct limits_hold *hold, struct error *reterr_error)
{
    uint64_t hash = key_hash(key);
    struct limits_shard *shard = shard_of(limits, hash);

    pthread_mutex_lock(&shard->lock);
    struct limits_entry *entry = entry_get(limits, shard, key, hash);
    bool ok = is_import ? take_import(entry, reterr_error) : take(entry, now_ns, reterr_error);
    bool is_wanted = becomes_wanted(entry, now_ns);
    if (ok)
        hold->entry = entry;
    else
        count_refusal(entry, now_ns, hold);
    pthread_mutex_unlock(&shard->lock);
    if (!ok)
        atomic_fetch_add_explicit(&limits->refused, 1, memory_order_relaxed);
    if (is_wanted && limits->options.on_wanted != NULL)
        limits->options.on_wanted(limits->options.user);
    return ok;
}

bool limits_enter(struct limits *limits, const struct uuid *workspace_id, const struct uuid *user_id, int64_t now_ns,
    struct limits_hold *ret_hold, struct error *reterr_error)
{
    struct key key = {.workspace_id = *workspace_id, .user_id = user_id == NULL ? uuid_nil : *user_id};

    *ret_hold = (struct limits_hold){.workspace_id = key.workspace_id, .user_id = key.user_id};
    if (user_id != NULL) {
        if (is_known_member(limits, &key))
            key.user_id = uuid_nil;
        else
            key.workspace_id = uuid_nil;
    }
    return enter(limits, &key, false, now_ns, ret_hold, reterr_error);
}

bool limits_enter_import(struct limits *limits, const struct uuid *workspace_id, int64_t now_ns,
    struct limits_hold *ret_hold, struct error *reterr_error)
{
    const struct key key = {.workspace_id = *workspace_id};

    *ret_hold = (struct limits_hold){.workspace_id = *workspace_id};
    return enter(limits, &key, true, now_ns, ret_hold, reterr_error);
}

void limits_leave_import(struct limits *limits, struct limits_hold *hold)
{
    struct limits_entry *entry = hold->entry;

    if (entry == NULL)
        return;
    pthread_mutex_t *lock = &entry->shard->lock;
    pthread_mutex_lock(lock);
    let_go(limits, entry, &entry->imports);
    pthread_mutex_unlock(lock);
    *hold = (struct limits_hold){0};
}

/* --- The end of a call -------------------------------------------------------------------------------------------- */

/* Remembers that somebody is a member, or forgets it. */
static void know_member(struct limits *limits, const struct key *key, bool is_member)
{
    uint64_t hash = key_hash(key);
    struct limits_shard *shard = shard_of(limits, hash);

    pthread_mutex_lock(&shard->lock);
    struct limits_entry *entry = is_member ? entry_get(limits, shard, key, hash) : entry_find(shard, key, hash);
    if (!is_member && entry != NULL)
        entry_free(entry);
    pthread_mutex_unlock(&shard->lock);
}

void limits_leave(struct limits *limits, struct limits_hold *hold, enum limits_end end)
{
    const struct key key = {.workspace_id = hold->workspace_id, .user_id = hold->user_id};
    struct limits_entry *entry = hold->entry;

    if (entry == NULL)
        return;
    struct limits_shard *shard = entry->shard;
    bool was_member = uuid_is_nil(&entry->key.user_id);
    pthread_mutex_lock(&shard->lock);
    let_go(limits, entry, &entry->calls);
    pthread_mutex_unlock(&shard->lock);
    if (!uuid_is_nil(&key.user_id) && end != LIMITS_END_UNSAID && (end == LIMITS_END_MEMBER) != was_member)
        know_member(limits, &key, end == LIMITS_END_MEMBER);
    *hold = (struct limits_hold){0};
}

bool limits_spend(struct limits *limits, struct limits_hold *hold, int64_t now_ns, struct error *reterr_error)
{
    const struct uuid workspace_id = hold->workspace_id;
    const struct uuid user_id = hold->user_id;
    struct limits_entry *entry = hold->entry;

    if (entry == NULL || !uuid_is_nil(&entry->key.user_id)) { /* a person's; or was, and the workspace had no room */
        limits_leave(limits, hold, LIMITS_END_MEMBER);
        return limits_enter(limits, &workspace_id, uuid_is_nil(&user_id) ? NULL : &user_id, now_ns, hold, reterr_error);
    }
    pthread_mutex_lock(&entry->shard->lock);
    bool ok = take_token(entry, now_ns, reterr_error);
    bool is_wanted = becomes_wanted(entry, now_ns);
    pthread_mutex_unlock(&entry->shard->lock);
    if (is_wanted && limits->options.on_wanted != NULL)
        limits->options.on_wanted(limits->options.user);
    return ok;
}

uint64_t limits_refused(const struct limits *limits)
{
    return atomic_load_explicit(&limits->refused, memory_order_relaxed);
}

/* --- Values ------------------------------------------------------------------------------------------------------- */

size_t limits_wanted(struct limits *limits, struct uuid *ret_ids, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < SHARDS && count < max; i++) {
        struct limits_shard *shard = &limits->shards[i];
        struct hash_node *node = NULL;
        pthread_mutex_lock(&shard->lock);
        while (count < max && (node = hash_table_walk(&shard->entries, node)) != NULL) {
            struct limits_entry *entry = HASH_TABLE_MEMBER(node, struct limits_entry, node);
            if (entry->is_wanted)
                ret_ids[count++] = entry->key.workspace_id;
        }
        pthread_mutex_unlock(&shard->lock);
    }
    return count;
}

/* Calls of the last moments that the bucket stands for; without a rate all since the values were set. */
static int64_t owed_calls(const struct limits_entry *entry, int64_t now_ns)
{
    if (entry->values.calls_per_second == 0)
        return entry->unmetered;
    return larger(0, entry->paid_until_ns - now_ns) / (NS_PER_S / entry->values.calls_per_second);
}

/* What was used up of the old values is used up of the new ones. Under the lock. */
static void change_rate(struct limits_entry *entry, const struct limits_values *values, int64_t now_ns)
{
    int64_t owed = owed_calls(entry, now_ns);
    int64_t burst = burst_of(values);

    entry->unmetered = 0;
    entry->promised_ns = 0;
    entry->paid_until_ns = values->calls_per_second == 0
                               ? 0
                               : now_ns + (owed < burst ? owed : burst) * (NS_PER_S / values->calls_per_second);
}

void limits_set(
    struct limits *limits, const struct uuid *workspace_id, const struct limits_values *values, int64_t now_ns)
{
    const struct key key = {.workspace_id = *workspace_id};
    uint64_t hash = key_hash(&key);
    struct limits_shard *shard = shard_of(limits, hash);

    pthread_mutex_lock(&shard->lock);
    struct limits_entry *entry = entry_find(shard, &key, hash);
    if (entry != NULL) {
        if (values->calls_per_second != entry->values.calls_per_second || burst_of(values) != burst_of(&entry->values))
            change_rate(entry, values, now_ns);
        entry->unmetered = 0;
        entry->values = *values;
        entry->loaded_ns = now_ns;
        entry->is_wanted = false;
    }
    pthread_mutex_unlock(&shard->lock);
}

void limits_count(struct limits *limits, size_t *ret_entries, size_t *ret_calls)
{
    *ret_entries = 0;
    *ret_calls = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        struct limits_shard *shard = &limits->shards[i];
        struct hash_node *node = NULL;
        pthread_mutex_lock(&shard->lock);
        *ret_entries += shard->entries.count;
        while ((node = hash_table_walk(&shard->entries, node)) != NULL)
            *ret_calls += HASH_TABLE_MEMBER(node, struct limits_entry, node)->calls;
        pthread_mutex_unlock(&shard->lock);
    }
}
