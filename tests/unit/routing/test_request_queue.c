/* Goal: a lead is in at most one batch, everybody who asked gets exactly one answer, bounds and deadlines hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "routing/request_queue.h"

enum { TICKETS_MAX = 8, PATIENCE_MS = 60000 };

struct fixture {
    struct request_queue *queue;
    struct request_entry *entries[TICKETS_MAX];
    struct routing_ticket *lists[TICKETS_MAX];
    struct routing_ticket *dropped;
};

static int setup(void **state)
{
    struct fixture *fixture = memory_new(sizeof(*fixture));

    fixture->queue = request_queue_new(TICKETS_MAX);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    request_queue_free(fixture->queue);
    free(fixture);
    return 0;
}

static void never_called(struct routing_ticket *ticket, const struct routing_answer *answer)
{
    (void)ticket;
    (void)answer;
    fail_msg("the queue must not answer by itself");
}

/* Lead and workspace are told apart by one byte each. */
static struct routing_ticket ticket_for(uint8_t lead, uint8_t workspace)
{
    struct routing_ticket ticket = {.callback = never_called};

    ticket.request.lead_id.bytes[0] = lead;
    ticket.request.source_workspace_id.bytes[0] = workspace;
    ticket.request.max_attempts = 3;
    ticket.request.deadline_ns = clock_after_ms(PATIENCE_MS);
    return ticket;
}

static bool add(struct fixture *fixture, struct routing_ticket *ticket, struct error *reterr_error)
{
    size_t joined = 0;

    return request_queue_add(fixture->queue, &ticket, 1, &joined, reterr_error);
}

static size_t take(struct fixture *fixture)
{
    return request_queue_take(
        fixture->queue, fixture->entries, TICKETS_MAX, clock_after_ms(PATIENCE_MS), &fixture->dropped);
}

static void finish(struct fixture *fixture, size_t count)
{
    request_queue_finish(fixture->queue, fixture->entries, count, fixture->lists);
}

static size_t list_length(const struct routing_ticket *ticket)
{
    size_t length = 0;

    for (; ticket != NULL; ticket = ticket->next)
        length++;
    return length;
}

static void test_leads_come_out_in_order_of_arrival(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[3] = {ticket_for(1, 1), ticket_for(2, 1), ticket_for(3, 1)};

    for (size_t i = 0; i < 3; i++)
        assert_true(add(fixture, &tickets[i], NULL));
    assert_int_equal(take(fixture), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(fixture->entries[i]->request.lead_id.bytes[0], i + 1);
    finish(fixture, 3);
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(fixture->lists[i], &tickets[i]);
    assert_int_equal(request_queue_count(fixture->queue), 0);
}

static void test_a_second_ticket_joins_waiting_or_taken(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[3] = {ticket_for(1, 1), ticket_for(1, 1), ticket_for(1, 1)};

    assert_true(add(fixture, &tickets[0], NULL));
    assert_true(add(fixture, &tickets[1], NULL));
    assert_int_equal(take(fixture), 1);
    assert_true(add(fixture, &tickets[2], NULL));
    finish(fixture, 1);
    assert_int_equal(list_length(fixture->lists[0]), 3);
}

static void test_who_joins_brings_its_time(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[2] = {ticket_for(1, 1), ticket_for(1, 1)};

    tickets[0].request.deadline_ns = clock_after_ms(PATIENCE_MS / 2);
    assert_true(add(fixture, &tickets[0], NULL));
    assert_int_equal(take(fixture), 1);
    assert_true(add(fixture, &tickets[1], NULL));
    assert_true(atomic_load(&fixture->entries[0]->deadline_ns) == tickets[1].request.deadline_ns);
    finish(fixture, 1);
}

static void test_another_workspace_never_joins(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[2] = {ticket_for(1, 1), ticket_for(1, 2)};

    assert_true(add(fixture, &tickets[0], NULL));
    assert_true(add(fixture, &tickets[1], NULL));
    assert_int_equal(take(fixture), 2);
    finish(fixture, 2);
    assert_int_equal(list_length(fixture->lists[0]), 1);
    assert_int_equal(list_length(fixture->lists[1]), 1);
}

static void test_force_joins_what_waits_and_follows_what_runs(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[4] = {ticket_for(1, 1), ticket_for(1, 1), ticket_for(2, 1), ticket_for(2, 1)};

    tickets[1].request.force = true;
    tickets[3].request.force = true;
    assert_true(add(fixture, &tickets[0], NULL));
    assert_true(add(fixture, &tickets[1], NULL));
    assert_true(add(fixture, &tickets[2], NULL));
    assert_int_equal(take(fixture), 2);
    assert_true(fixture->entries[0]->request.force);
    assert_false(fixture->entries[1]->request.force);
    assert_true(add(fixture, &tickets[3], NULL));
    finish(fixture, 2);
    assert_int_equal(list_length(fixture->lists[0]), 2);
    assert_int_equal(list_length(fixture->lists[1]), 1);
    assert_int_equal(take(fixture), 1);
    assert_true(fixture->entries[0]->request.force);
    finish(fixture, 1);
    assert_ptr_equal(fixture->lists[0], &tickets[3]);
}

static void test_full_refuses_and_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[TICKETS_MAX + 1];
    struct routing_ticket *both[2] = {&tickets[TICKETS_MAX - 1], &tickets[TICKETS_MAX]};
    struct error error = {0};
    size_t joined = 0;

    for (uint8_t i = 0; i <= TICKETS_MAX; i++)
        tickets[i] = ticket_for((uint8_t)(i + 1), 1);
    for (size_t i = 0; i + 1 < TICKETS_MAX; i++)
        assert_true(add(fixture, &tickets[i], NULL));
    assert_false(request_queue_add(fixture->queue, both, 2, &joined, &error));
    assert_int_equal(error.code, ERROR_FULL);
    assert_int_equal(request_queue_count(fixture->queue), TICKETS_MAX - 1);
    assert_true(add(fixture, both[0], NULL));
    assert_int_equal(take(fixture), TICKETS_MAX);
    finish(fixture, TICKETS_MAX);
}

static void test_late_and_abandoned_tickets_are_dropped(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[3] = {ticket_for(1, 1), ticket_for(1, 1), ticket_for(2, 1)};

    tickets[0].request.deadline_ns = clock_now_ns() - 1;
    atomic_store(&tickets[2].abandoned, true);
    for (size_t i = 0; i < 3; i++)
        assert_true(add(fixture, &tickets[i], NULL));
    assert_int_equal(take(fixture), 1);
    assert_int_equal(list_length(fixture->dropped), 2);
    assert_ptr_equal(fixture->dropped, &tickets[0]);
    assert_ptr_equal(fixture->dropped->next, &tickets[2]);
    finish(fixture, 1);
    assert_ptr_equal(fixture->lists[0], &tickets[1]);
    assert_int_equal(request_queue_count(fixture->queue), 0);
}

/* Asks for a lead that stays held: how often, until the time is over. Each time comes later when the machine stands still, none sooner. */
static unsigned ask_until_the_time_is_over(struct fixture *fixture)
{
    struct routing_ticket ticket = ticket_for(1, 1);
    int64_t start_ns = clock_now_ns();
    unsigned asked = 0;

    assert_true(add(fixture, &ticket, NULL));
    do {
        assert_int_equal(take(fixture), 1);
        asked++;
    } while (request_queue_put_back(fixture->queue, fixture->entries[0]));
    assert_true(clock_now_ns() - start_ns >= (int64_t)REQUEST_HELD_MS_MAX * 1000000);
    assert_in_range(asked, 2, 6);
    finish(fixture, 1);
    assert_ptr_equal(fixture->lists[0], &ticket);
    return asked;
}

static void test_held_leads_come_again_until_the_time_is_over(void **state)
{
    const int64_t until_ns = clock_after_ms(PATIENCE_MS);

    while (ask_until_the_time_is_over(*state) < 3)
        assert_true(clock_left_ms(until_ns) > 0);
}

/* Puts a lead back three times, the last time for 20 ms. False: the machine stood still until the time for that was over. */
static bool put_back_three_times(struct fixture *fixture, struct routing_ticket *ticket)
{
    assert_true(add(fixture, ticket, NULL));
    for (unsigned asked = 0; asked < 3; asked++) {
        assert_int_equal(take(fixture), 1);
        if (!request_queue_put_back(fixture->queue, fixture->entries[0])) {
            finish(fixture, 1);
            return false;
        }
    }
    return true;
}

/* The taker does not wait for it at all. */
static void test_a_lead_that_was_let_go_comes_up_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket ticket = ticket_for(1, 1);
    const struct routing_request other = ticket_for(2, 1).request;
    const struct routing_request *const let_go[] = {&other, &ticket.request};

    while (!put_back_three_times(fixture, &ticket)) {
        assert_true(clock_left_ms(ticket.request.deadline_ns) > 0);
        ticket.next = NULL;
    }
    request_queue_let_go(fixture->queue, let_go, COUNT_OF(let_go));
    assert_int_equal(
        request_queue_take(fixture->queue, fixture->entries, TICKETS_MAX, clock_now_ns(), &fixture->dropped), 1);
    finish(fixture, 1);
    assert_ptr_equal(fixture->lists[0], &ticket);
}

/* Whoever held it was done after its taker had found it held, and before that puts it back. Once: the next who holds it has his time. */
static void test_a_lead_that_is_let_go_while_taken_comes_up_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket ticket = ticket_for(1, 1);
    const struct routing_request *const let_go[] = {&ticket.request};

    assert_true(add(fixture, &ticket, NULL));
    assert_int_equal(take(fixture), 1);
    request_queue_let_go(fixture->queue, let_go, COUNT_OF(let_go));
    assert_true(request_queue_put_back(fixture->queue, fixture->entries[0]));
    assert_int_equal(
        request_queue_take(fixture->queue, fixture->entries, TICKETS_MAX, clock_now_ns(), &fixture->dropped), 1);
    int64_t before_ns = clock_now_ns();
    if (request_queue_put_back(fixture->queue, fixture->entries[0])) { /* or the machine stood still for 100 ms */
        assert_true(fixture->entries[0]->due_ns > before_ns);
        assert_int_equal(take(fixture), 1);
    }
    finish(fixture, 1);
    assert_ptr_equal(fixture->lists[0], &ticket);
}

static void test_put_back_takes_the_forced_along(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[2] = {ticket_for(1, 1), ticket_for(1, 1)};

    tickets[1].request.force = true;
    assert_true(add(fixture, &tickets[0], NULL));
    assert_int_equal(take(fixture), 1);
    assert_true(add(fixture, &tickets[1], NULL));
    assert_true(request_queue_put_back(fixture->queue, fixture->entries[0]));
    assert_int_equal(take(fixture), 1);
    assert_true(fixture->entries[0]->request.force);
    finish(fixture, 1);
    assert_int_equal(list_length(fixture->lists[0]), 2);
}

/* One of them may be no member: each gets an attempt, and an answer, of its own, one after the other. */
static void test_what_people_ask_for_is_not_joined(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[5] = {
        ticket_for(1, 1), ticket_for(1, 1), ticket_for(1, 1), ticket_for(1, 1), ticket_for(1, 1)};

    tickets[1].request.member_id.bytes[0] = 1;
    tickets[2].request.member_id.bytes[0] = 2;
    tickets[3].request.member_id.bytes[0] = 1;
    for (size_t i = 0; i < 4; i++)
        assert_true(add(fixture, &tickets[i], NULL));
    assert_int_equal(take(fixture), 1);
    assert_true(request_queue_put_back(fixture->queue, fixture->entries[0]));
    assert_int_equal(take(fixture), 1);
    assert_true(add(fixture, &tickets[4], NULL));
    finish(fixture, 1);
    assert_ptr_equal(fixture->lists[0], &tickets[0]);
    assert_int_equal(list_length(fixture->lists[0]), 2); /* the service's other one */
    assert_int_equal(take(fixture), 1);
    assert_int_equal(fixture->entries[0]->request.member_id.bytes[0], 1);
    finish(fixture, 1);
    assert_ptr_equal(fixture->lists[0], &tickets[1]);
    assert_int_equal(list_length(fixture->lists[0]), 2);
    assert_int_equal(take(fixture), 1);
    finish(fixture, 1);
    assert_ptr_equal(fixture->lists[0], &tickets[2]);
    assert_int_equal(request_queue_count(fixture->queue), 0);
}

static void test_who_waits_for_another_that_is_dropped_comes_next(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[2] = {ticket_for(1, 1), ticket_for(1, 1)};

    tickets[0].request.deadline_ns = clock_now_ns() - 1;
    tickets[1].request.member_id.bytes[0] = 1;
    assert_true(add(fixture, &tickets[0], NULL));
    assert_true(add(fixture, &tickets[1], NULL));
    assert_int_equal(take(fixture), 1);
    assert_ptr_equal(fixture->dropped, &tickets[0]);
    finish(fixture, 1);
    assert_ptr_equal(fixture->lists[0], &tickets[1]);
}

static void test_closed_gives_out_what_it_has_and_refuses_the_rest(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket tickets[2] = {ticket_for(1, 1), ticket_for(2, 1)};
    struct error error = {0};

    assert_true(add(fixture, &tickets[0], NULL));
    request_queue_close(fixture->queue);
    assert_false(add(fixture, &tickets[1], &error));
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_false(request_queue_is_drained(fixture->queue));
    assert_int_equal(take(fixture), 1);
    finish(fixture, 1);
    assert_true(request_queue_is_drained(fixture->queue));
    assert_int_equal(take(fixture), 0);
}

static void test_a_second_taker_leaves_a_few_leads_to_the_first(void **state)
{
    enum { MANY = 24 };
    struct request_queue *queue = request_queue_new(2 * MANY);
    struct routing_ticket tickets[MANY + 1];
    struct request_entry *taken[MANY + 1];
    struct routing_ticket *lists[MANY + 1];
    struct routing_ticket *dropped = NULL;
    size_t joined = 0;

    (void)state;
    for (uint8_t i = 0; i <= MANY; i++) {
        struct routing_ticket *ticket = &tickets[i];
        tickets[i] = ticket_for((uint8_t)(i + 1), 1);
        assert_true(request_queue_add(queue, &ticket, 1, &joined, NULL));
        if (i == 0) /* alone it is taken at once, and then somebody is at work */
            assert_int_equal(request_queue_take(queue, taken, 1, clock_now_ns(), &dropped), 1);
        if (i == 1) { /* one more is left to them, but not for ever */
            int64_t came_ns = clock_now_ns();
            assert_int_equal(request_queue_take(queue, &taken[1], 1, clock_after_ms(PATIENCE_MS), &dropped), 1);
            assert_true(clock_now_ns() - came_ns >= 3 * 1000000);
            request_queue_finish(queue, &taken[1], 1, &lists[1]);
            assert_true(request_queue_add(queue, &ticket, 1, &joined, NULL));
        }
    }
    assert_int_equal(request_queue_take(queue, &taken[1], MANY, clock_now_ns(), &dropped), MANY); /* enough for two */
    request_queue_finish(queue, taken, MANY + 1, lists);
    request_queue_free(queue);
}

static void test_take_ends_at_its_time(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(request_queue_take(fixture->queue, fixture->entries, 1, clock_after_ms(2), &fixture->dropped), 0);
    assert_null(fixture->dropped);
}

/* --- Several takers at the end -------------------------------------------------------------------------------------- */

/* One who waits for work of a queue that is closed. */
struct waiter {
    struct request_queue *queue;
    pthread_t thread;
    atomic_int thread_id;
    bool was_in_time; /* read when it has ended */
};

static void *wait_for_the_end(void *argument)
{
    struct waiter *waiter = argument;
    struct request_entry *entry = NULL;
    struct routing_ticket *dropped = NULL;
    int64_t until_ns = clock_after_ms(PATIENCE_MS);

    atomic_store(&waiter->thread_id, (int)gettid());
    request_queue_take(waiter->queue, &entry, 1, until_ns, &dropped);
    waiter->was_in_time = clock_now_ns() < until_ns;
    return NULL;
}

/* Until the thread waits for something: state S in /proc/self/task/ID/stat (proc(5)). */
static void wait_until_asleep(const struct waiter *waiter)
{
    char path[64];
    char state = '?';

    while (state != 'S') {
        snprintf(path, sizeof(path), "/proc/self/task/%d/stat", atomic_load(&waiter->thread_id));
        FILE *file = fopen(path, "r");
        if (file != NULL) {
            if (fscanf(file, "%*d %*s %c", &state) != 1)
                state = '?';
            fclose(file);
        }
        sched_yield();
    }
}

/* A lead that was held comes up again while the server stops, and nobody waits for it any more: there is nothing left to come. */
static void test_the_last_that_is_dropped_wakes_all_takers(void **state)
{
    struct fixture *fixture = *state;
    struct routing_ticket ticket = ticket_for(1, 1);
    struct waiter waiters[2] = {{.queue = fixture->queue}, {.queue = fixture->queue}};

    assert_true(add(fixture, &ticket, NULL));
    assert_int_equal(take(fixture), 1);
    request_queue_close(fixture->queue);
    for (size_t i = 0; i < COUNT_OF(waiters); i++)
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_for_the_end, &waiters[i]), 0);
    for (size_t i = 0; i < COUNT_OF(waiters); i++)
        wait_until_asleep(&waiters[i]);
    atomic_store(&ticket.abandoned, true);
    assert_true(request_queue_put_back(fixture->queue, fixture->entries[0]));
    for (size_t i = 0; i < COUNT_OF(waiters); i++) {
        pthread_join(waiters[i].thread, NULL);
        assert_true(waiters[i].was_in_time);
    }
    assert_true(request_queue_is_drained(fixture->queue));
}

/* --- By volume: several takers and givers; every ticket comes out once ------------------------------------------------ */

enum { CROWD_TICKETS = 20000, CROWD_GIVERS = 3, CROWD_TAKERS = 2, CROWD_LEADS = 50 };

struct crowd {
    struct request_queue *queue;
    struct routing_ticket *tickets;
    atomic_uint *answered;
    atomic_uint given;
    atomic_int in_batch[CROWD_LEADS];
    atomic_bool twice;
};

static void *give(void *argument)
{
    struct crowd *crowd = argument;
    unsigned i = 0;

    while ((i = atomic_fetch_add(&crowd->given, 1)) < CROWD_TICKETS) {
        struct routing_ticket *ticket = &crowd->tickets[i];
        size_t joined = 0;
        *ticket = ticket_for((uint8_t)(i % CROWD_LEADS), 1);
        ticket->request.force = i % 7 == 0;
        while (!request_queue_add(crowd->queue, &ticket, 1, &joined, NULL))
            sched_yield();
    }
    return NULL;
}

static void *take_and_answer(void *argument)
{
    struct crowd *crowd = argument;
    struct request_entry *entries[16];
    struct routing_ticket *lists[16];
    struct routing_ticket *dropped = NULL;
    unsigned turn = 0;

    while (!request_queue_is_drained(crowd->queue)) {
        size_t count = request_queue_take(crowd->queue, entries, 16, clock_after_ms(PATIENCE_MS), &dropped);
        size_t kept = 0;
        for (size_t i = 0; i < count; i++) {
            uint8_t lead = entries[i]->request.lead_id.bytes[0];
            if (atomic_fetch_add(&crowd->in_batch[lead], 1) != 0)
                atomic_store(&crowd->twice, true);
        }
        for (size_t i = 0; i < count; i++) {
            atomic_fetch_sub(&crowd->in_batch[entries[i]->request.lead_id.bytes[0]], 1);
            if (turn++ % 100 != 0 || !request_queue_put_back(crowd->queue, entries[i]))
                entries[kept++] = entries[i];
        }
        request_queue_finish(crowd->queue, entries, kept, lists);
        for (size_t i = 0; i < kept; i++)
            for (struct routing_ticket *ticket = lists[i]; ticket != NULL; ticket = ticket->next)
                atomic_fetch_add(&crowd->answered[ticket - crowd->tickets], 1);
    }
    return NULL;
}

static void test_a_crowd_gets_one_answer_each(void **state)
{
    struct crowd crowd = {.queue = request_queue_new(1000)};
    pthread_t givers[CROWD_GIVERS];
    pthread_t takers[CROWD_TAKERS];

    (void)state;
    crowd.tickets = memory_new_array(CROWD_TICKETS, sizeof(*crowd.tickets));
    crowd.answered = memory_new_array(CROWD_TICKETS, sizeof(*crowd.answered));
    for (size_t i = 0; i < CROWD_TAKERS; i++)
        assert_int_equal(pthread_create(&takers[i], NULL, take_and_answer, &crowd), 0);
    for (size_t i = 0; i < CROWD_GIVERS; i++)
        assert_int_equal(pthread_create(&givers[i], NULL, give, &crowd), 0);
    for (size_t i = 0; i < CROWD_GIVERS; i++)
        pthread_join(givers[i], NULL);
    request_queue_close(crowd.queue);
    for (size_t i = 0; i < CROWD_TAKERS; i++)
        pthread_join(takers[i], NULL);
    assert_false(atomic_load(&crowd.twice));
    for (size_t i = 0; i < CROWD_TICKETS; i++)
        assert_int_equal(atomic_load(&crowd.answered[i]), 1);
    request_queue_free(crowd.queue);
    free(crowd.tickets);
    free(crowd.answered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_leads_come_out_in_order_of_arrival, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_second_ticket_joins_waiting_or_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_joins_brings_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_workspace_never_joins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_force_joins_what_waits_and_follows_what_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_refuses_and_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_and_abandoned_tickets_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_leads_come_again_until_the_time_is_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lead_that_was_let_go_comes_up_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lead_that_is_let_go_while_taken_comes_up_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_back_takes_the_forced_along, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_people_ask_for_is_not_joined, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_waits_for_another_that_is_dropped_comes_next, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_gives_out_what_it_has_and_refuses_the_rest, setup, teardown),
        cmocka_unit_test(test_a_second_taker_leaves_a_few_leads_to_the_first),
        cmocka_unit_test_setup_teardown(test_take_ends_at_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_that_is_dropped_wakes_all_takers, setup, teardown),
        cmocka_unit_test(test_a_crowd_gets_one_answer_each),
    };

    return cmocka_run_group_tests_name("routing/request_queue", tests, NULL, NULL);
}
