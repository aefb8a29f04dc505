/* Goal: what is generated works: typed handlers get typed requests of their own method, typed callers get the typed answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "no_package.grpc.h"
#include "shop/v1/orders.grpc.h"
#include "streams.grpc.h"

enum { WAIT_S = 30, CENTS = 1250, NUMBER_OF_ORDER = 7, NUMBER_OF_ADMIN = 8 };

struct fixture {
    struct grpc_c_server *server;
    struct grpc_c_channel *channel;
    int64_t order_number; /* user data of OrderService and of order_admin: what their PlaceOrder answers */
    int64_t admin_number;
};

/* --- Handlers -------------------------------------------------------------------------------------------------------- */

static void handle_place_order(struct grpc_c_call *call, const Shop__V1__Order *request, void *user)
{
    Shop__V1__Order__Line__Receipt receipt = SHOP__V1__ORDER__LINE__RECEIPT__INIT;

    receipt.number = *(const int64_t *)user + (int64_t)request->n_lines;
    shop__v1__order_service__place_order__reply(call, &receipt);
}

static void handle_switch(struct grpc_c_call *call, const Shop__V1__Order__Line *request, void *user)
{
    (void)user;
    grpc_c_call_fail(call, GRPC_C_FAILED_PRECONDITION, request->item);
}

static void handle_amount(struct grpc_c_call *call, const Common__MoneyTypes__HTTPAmountX *request, void *user)
{
    Common__MoneyTypes__HTTPAmountX__Purse2GO purse = COMMON__MONEY_TYPES__HTTPAMOUNT_X__PURSE2_GO__INIT;
    char name[32] = "";

    (void)user;
    snprintf(name, sizeof(name), "%lld cents", (long long)request->cents);
    purse.name = name;
    shop__v1__order_service__get_httpamount__reply(call, &purse);
}

static void handle_echo_add(struct grpc_c_call *call, const Shop__V1__Order *request, void *user)
{
    (void)user;
    shop__v1__order_service__add___reply(call, request);
}

static void handle_admin_place_order(struct grpc_c_call *call, const Shop__V1__Order *request, void *user)
{
    Shop__V1__Order answer = SHOP__V1__ORDER__INIT;
    char text[32] = "";

    (void)request;
    snprintf(text, sizeof(text), "%lld", (long long)*(const int64_t *)user);
    answer.default_ = text;
    shop__v1__order_admin__place_order__reply(call, &answer);
}

static void handle_lone_call(struct grpc_c_call *call, const Nothing *request, void *user)
{
    (void)user;
    lone__call__reply(call, request);
}

/* Ledger: what is under way lives in the call's arena. */
struct sum {
    int64_t amount;
};

static void sum_entry(struct grpc_c_call *call, enum grpc_c_read result, const Streams__V1__Entry *request, void *user)
{
    Streams__V1__Total total = STREAMS__V1__TOTAL__INIT;
    struct sum *sum = user;

    if (result == GRPC_C_READ_MESSAGE) {
        sum->amount += request->amount;
        streams__v1__ledger__sum__read(call, sum_entry, sum);
    } else if (result == GRPC_C_READ_END) {
        total.amount = sum->amount;
        streams__v1__ledger__sum__reply(call, &total);
    } else {
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "");
    }
}

static void handle_sum(struct grpc_c_call *call, void *user)
{
    (void)user;
    streams__v1__ledger__sum__read(call, sum_entry, arena_alloc(grpc_c_call_arena(call), sizeof(struct sum)));
}

static void count_on(struct grpc_c_call *call, bool is_sent, void *user)
{
    Streams__V1__Entry entry = STREAMS__V1__ENTRY__INIT;
    struct sum *left = user;

    if (!is_sent || left->amount == 0) {
        grpc_c_call_finish(call);
        return;
    }
    entry.amount = left->amount--;
    streams__v1__ledger__count__write(call, &entry, count_on, left);
}

static void handle_count(struct grpc_c_call *call, const Streams__V1__Total *request, void *user)
{
    struct sum *left = arena_alloc(grpc_c_call_arena(call), sizeof(*left));

    (void)user;
    left->amount = request->amount;
    count_on(call, true, left);
}

static void *echo_main(void *argument)
{
    struct grpc_c_call *call = argument;
    const Streams__V1__Entry *entry = NULL;

    while (streams__v1__ledger__echo__read_wait(call, &entry) == GRPC_C_READ_MESSAGE &&
           streams__v1__ledger__echo__write_wait(call, entry)) {
    }
    grpc_c_call_finish(call);
    return NULL;
}

static void handle_echo(struct grpc_c_call *call, void *user)
{
    pthread_t thread;

    (void)user;
    assert_int_equal(pthread_create(&thread, NULL, echo_main, call), 0);
    pthread_detach(thread);
}

static void handle_ping(struct grpc_c_call *call, const Google__Protobuf__Empty *request, void *user)
{
    (void)user;
    streams__v1__ledger__ping__reply(call, request);
}

static const struct streams__v1__ledger__handlers ledger_handlers = {
    .sum = handle_sum, .count = handle_count, .echo = handle_echo, .ping = handle_ping};
static const struct shop__v1__order_service__handlers order_handlers = {
    .place_order = handle_place_order,
    .switch_ = handle_switch,
    .get_httpamount = handle_amount,
    .add = handle_echo_add,
};
static const struct shop__v1__order_admin__handlers admin_handlers = {.place_order = handle_admin_place_order};
static const struct shop__v1__idle__handlers idle_handlers = {0};
static const struct lone__handlers lone_handlers = {.call = handle_lone_call};

/* --- Fixture --------------------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
    const struct grpc_c_server_options options = {.threads = 1};
    struct fixture *fixture = memory_new(sizeof(*fixture));
    struct error error = {0};
    char target[64] = "";
    int port = 0;

    fixture->order_number = NUMBER_OF_ORDER;
    fixture->admin_number = NUMBER_OF_ADMIN;
    fixture->server = grpc_c_server_new(&options);
    shop__v1__order_service__add(fixture->server, &order_handlers, &fixture->order_number);
    shop__v1__order_admin__add(fixture->server, &admin_handlers, &fixture->admin_number);
    shop__v1__idle__add(fixture->server, &idle_handlers, NULL);
    lone__add(fixture->server, &lone_handlers, NULL);
    streams__v1__ledger__add(fixture->server, &ledger_handlers, NULL);
    assert_true(grpc_c_server_listen(fixture->server, "127.0.0.1:0", &port, &error));
    assert_true(grpc_c_server_start(fixture->server, &error));
    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    assert_true(grpc_c_channel_new(target, NULL, &fixture->channel, &error));
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    grpc_c_channel_free(fixture->channel);
    grpc_c_server_stop(fixture->server, 0);
    grpc_c_server_free(fixture->server);
    free(fixture);
    return 0;
}

static const struct grpc_c_call_options patient = {.deadline_ms = WAIT_S * 1000, .wait_for_ready = true};

/* --- Tests ----------------------------------------------------------------------------------------------------------- */

/* Goal: each method of each service reaches its own handler with its own user data, and the answer its caller. */
static void test_blocking(void **state)
{
    struct fixture *fixture = *state;
    Shop__V1__Order order = SHOP__V1__ORDER__INIT;
    Shop__V1__Order__Line line = SHOP__V1__ORDER__LINE__INIT;
    Shop__V1__Order__Line *lines[] = {&line, &line, &line};
    Shop__V1__Order *same = NULL;
    Shop__V1__Order__Line__Receipt *receipt = NULL;
    Common__MoneyTypes__HTTPAmountX amount = COMMON__MONEY_TYPES__HTTPAMOUNT_X__INIT;
    Common__MoneyTypes__HTTPAmountX__Purse2GO *purse = NULL;
    Nothing nothing = NOTHING__INIT;
    Nothing *answer = NULL;

    order.n_lines = COUNT_OF(lines);
    order.lines = lines;
    amount.cents = CENTS;
    assert_int_equal(
        shop__v1__order_service__place_order(fixture->channel, &order, &patient, &receipt, NULL), GRPC_C_OK);
    assert_int_equal(receipt->number, NUMBER_OF_ORDER + COUNT_OF(lines));
    protobuf_c_message_free_unpacked(&receipt->base, NULL);

    assert_int_equal(shop__v1__order_admin__place_order(fixture->channel, &order, &patient, &same, NULL), GRPC_C_OK);
    assert_string_equal(same->default_, "8");
    shop__v1__order__free_unpacked(same, NULL);

    assert_int_equal(shop__v1__order_service__add_(fixture->channel, &order, &patient, &same, NULL), GRPC_C_OK);
    assert_int_equal(same->n_lines, COUNT_OF(lines));
    shop__v1__order__free_unpacked(same, NULL);

    assert_int_equal(
        shop__v1__order_service__get_httpamount(fixture->channel, &amount, &patient, &purse, NULL), GRPC_C_OK);
    assert_string_equal(purse->name, "1250 cents");
    protobuf_c_message_free_unpacked(&purse->base, NULL);

    assert_int_equal(lone__call(fixture->channel, &nothing, &patient, &answer, NULL), GRPC_C_OK);
    nothing__free_unpacked(answer, NULL);
}

/* Goal: a refusal brings status and message and no response; a NULL handler is UNIMPLEMENTED. */
static void test_failures(void **state)
{
    struct fixture *fixture = *state;
    char item[] = "sold out";
    Shop__V1__Order order = SHOP__V1__ORDER__INIT;
    Shop__V1__Order *response = &order; /* stays: written on success only */
    Shop__V1__Order__Line line = SHOP__V1__ORDER__LINE__INIT;
    struct grpc_c_outcome outcome = {0};

    line.item = item;
    assert_int_equal(shop__v1__order_service__switch(fixture->channel, &line, &patient, &response, &outcome),
        GRPC_C_FAILED_PRECONDITION);
    assert_int_equal(outcome.status, GRPC_C_FAILED_PRECONDITION);
    assert_string_equal(outcome.message, "sold out");
    grpc_c_outcome_release(&outcome);
    assert_int_equal(
        shop__v1__order_service__delete(fixture->channel, &order, &patient, &response, NULL), GRPC_C_UNIMPLEMENTED);
    assert_ptr_equal(response, &order);
}

/* Goal: each kind of stream, by its own typed functions. */
static void test_streams(void **state)
{
    enum { ENTRIES = 10 };
    struct fixture *fixture = *state;
    Streams__V1__Entry entry = STREAMS__V1__ENTRY__INIT;
    Streams__V1__Entry *next = NULL;
    Streams__V1__Total total = STREAMS__V1__TOTAL__INIT;
    Streams__V1__Total *sum = NULL;
    Google__Protobuf__Empty nothing = GOOGLE__PROTOBUF__EMPTY__INIT;
    Google__Protobuf__Empty *pong = NULL;

    struct grpc_c_stream *stream = streams__v1__ledger__sum__open(fixture->channel, &patient);
    for (entry.amount = 1; entry.amount <= ENTRIES; entry.amount++)
        assert_true(streams__v1__ledger__sum__send(stream, &entry));
    assert_int_equal(streams__v1__ledger__sum__finish(stream, &sum, NULL), GRPC_C_OK);
    assert_int_equal(sum->amount, ENTRIES * (ENTRIES + 1) / 2);
    streams__v1__total__free_unpacked(sum, NULL);
    grpc_c_stream_free(stream);

    total.amount = ENTRIES;
    stream = streams__v1__ledger__count__open(fixture->channel, &total, &patient);
    for (int64_t left = ENTRIES; left > 0; left--) {
        assert_true(streams__v1__ledger__count__next(stream, &next));
        assert_int_equal(next->amount, left);
        streams__v1__entry__free_unpacked(next, NULL);
    }
    assert_false(streams__v1__ledger__count__next(stream, &next));
    assert_int_equal(grpc_c_stream_finish(stream, NULL), GRPC_C_OK);
    grpc_c_stream_free(stream);

    stream = streams__v1__ledger__echo__open(fixture->channel, &patient);
    assert_true(streams__v1__ledger__echo__send(stream, &entry));
    assert_true(streams__v1__ledger__echo__next(stream, &next));
    assert_int_equal(next->amount, entry.amount);
    streams__v1__entry__free_unpacked(next, NULL);
    assert_int_equal(grpc_c_stream_finish(stream, NULL), GRPC_C_OK);
    grpc_c_stream_free(stream);

    assert_int_equal(streams__v1__ledger__ping(fixture->channel, &nothing, &patient, &pong, NULL), GRPC_C_OK);
    google__protobuf__empty__free_unpacked(pong, NULL);
}

/* Goal: the descriptors that reflection gives away are protoc's own, for the file and all that it imports. */
static void test_files(void **state)
{
    const struct grpc_c_service *service = &streams__v1__ledger__grpc_service;

    (void)state;
    assert_int_equal(service->file_count, 3);
    assert_string_equal(service->files[0].name, "streams.proto");
    assert_string_equal(service->files[1].name, "google/protobuf/empty.proto");
    assert_string_equal(service->files[2].name, "google/protobuf/timestamp.proto");
    for (size_t i = 0; i < service->file_count; i++) {
        const struct grpc_c_file *file = &service->files[i];
        const size_t name_size = strlen(file->name);
        assert_int_equal(file->descriptor[0], 0x0a); /* field 1, the name, comes first */
        assert_int_equal(file->descriptor[1], name_size);
        assert_memory_equal(file->descriptor + 2, file->name, name_size);
    }
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t told;
    unsigned count;
    enum grpc_c_status status;
    int64_t number; /* of the receipt; -1: there was none */
};

static void receipt_came(
    const Shop__V1__Order__Line__Receipt *response, const struct grpc_c_outcome *outcome, void *user)
{
    struct waiter *waiter = user;

    pthread_mutex_lock(&waiter->lock);
    waiter->count++;
    waiter->status = outcome->status;
    waiter->number = response == NULL ? -1 : response->number;
    pthread_cond_signal(&waiter->told);
    pthread_mutex_unlock(&waiter->lock);
}

static void wait_until(struct waiter *waiter, unsigned count)
{
    struct timespec deadline = {0};
    int failure = 0;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_S;
    pthread_mutex_lock(&waiter->lock);
    while (waiter->count < count && failure == 0)
        failure = pthread_cond_timedwait(&waiter->told, &waiter->lock, &deadline);
    pthread_mutex_unlock(&waiter->lock);
    assert_int_equal(waiter->count, count);
}

/* Goal: callbacks get what blocking callers get, also when nobody listens; what the stub keeps for them is freed (leak check). */
static void test_async(void **state)
{
    struct fixture *fixture = *state;
    const struct grpc_c_call_options impatient = {.deadline_ms = 2000};
    struct waiter waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER};
    struct grpc_c_channel *deaf = NULL;
    struct grpc_c_pending *pending = NULL;
    struct error error = {0};
    Shop__V1__Order order = SHOP__V1__ORDER__INIT;

    shop__v1__order_service__place_order__async(fixture->channel, &order, &patient, receipt_came, &waiter, &pending);
    wait_until(&waiter, 1);
    assert_int_equal(waiter.status, GRPC_C_OK);
    assert_int_equal(waiter.number, NUMBER_OF_ORDER);
    grpc_c_pending_unref(pending);

    assert_true(grpc_c_channel_new("127.0.0.1:1", NULL, &deaf, &error)); /* port of tcpmux */
    shop__v1__order_service__place_order__async(deaf, &order, &impatient, receipt_came, &waiter, NULL);
    wait_until(&waiter, 2);
    assert_int_not_equal(waiter.status, GRPC_C_OK);
    assert_int_equal(waiter.number, -1);
    grpc_c_channel_free(deaf);
}

/* Goal: descriptors say what the .proto says. */
static void test_descriptors(void **state)
{
    const struct grpc_c_service *service = &shop__v1__order_service__grpc_service;

    (void)state;
    assert_string_equal(service->name, "shop.v1.OrderService");
    assert_int_equal(service->method_count, 7);
    assert_string_equal(service->methods[3].name, "switch");
    assert_string_equal(service->methods[3].path, "/shop.v1.OrderService/switch");
    assert_string_equal(service->methods[3].request->name, "shop.v1.Order.Line");
    assert_string_equal(service->methods[4].response->name, "Common.moneyTypes.HTTPAmount_x.Purse2GO");
    assert_int_equal(shop__v1__idle__grpc_service.method_count, 0);
    assert_string_equal(lone__grpc_service.methods[0].path, "/Lone/Call");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_blocking, setup, teardown),
        cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
        cmocka_unit_test(test_files),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_async, setup, teardown),
        cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
