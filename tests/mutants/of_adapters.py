"""Breaks of what speaks to Kafka and to the API.

Caught on the real parts, by the contract tests.
"""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

STARTS, SEEKING = "adapters/kafka/starts.py", "adapters/kafka/seeking.py"
READER, SOURCE, LETTERS, OUTBOX = (
    "adapters/kafka/reader.py",
    "adapters/kafka/source.py",
    "adapters/kafka/dead_letter.py",
    "adapters/kafka/retrying_producer.py",
)
COMMITS, BEGINNING = "adapters/kafka/group_commits.py", "adapters/kafka/beginning.py"
ASSIGNMENT, GONE = "adapters/kafka/assignment.py", "adapters/kafka/gone_offsets.py"
REFUSALS, OFFSETS = "adapters/kafka/refusals.py", "adapters/kafka/offsets.py"
LOG_CHANGES = "adapters/kafka/log_changes.py"
CLIENT, TRANSPORT = "adapters/scantrust/client.py", "adapters/scantrust/transport.py"
FRAMING, TRUST = "adapters/scantrust/framing.py", "adapters/scantrust/trust.py"
SOURCE_TESTS = "tests/contract/test_source.py"
STARTS_TESTS = "tests/contract/test_starts.py"
API_TESTS = "tests/contract/test_api.py"
MATCHING = ("tests/component/test_client_matching.py",)
TLS_TESTS = ("tests/component/test_client_tls.py",)

UNREAD_TESTS = "tests/component/test_unread_streams.py"
HOLDS_UP = f"{UNREAD_TESTS}::test_a_log_that_nobody_reads_holds_up_neither_the_loop_nor_its_end"
ADVICE_TESTS = "tests/contract/test_advice.py"
LASTING_TESTS = "tests/contract/test_lasting.py"
MEMORY_TESTS = "tests/integration/test_memory.py"
METRICS_TESTS = "tests/component/test_ops_metrics.py"

MUTANTS = (
    Mutant(
        "a position before which the log was cut is read on once others are written there",
        (Edit(GONE, "position > end or _CUT in error.str()", "position > end"),),
        ("tests/component/test_source_starts.py",),
        promise="starts",
    ),
    Mutant(
        "who logs waits for whoever reads the log",
        (Edit("ops/logs.py", "self._lines.write(f", "sys.stderr.write(f"),),
        (f"{HOLDS_UP}[stderr]",),
    ),
    Mutant(
        "the last line waits for whoever reads the output",
        (Edit("commands/run.py", "LAST_LINE_SECONDS = 2.0", "LAST_LINE_SECONDS = 9999.0"),),
        (f"{HOLDS_UP}[stderr and stdout]",),
    ),
    Mutant(
        "a second signal is seen between two steps of the main thread only",
        (
            Edit(
                "commands/run.py",
                "    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)\n",
                "",
            ),
        ),
        (f"{UNREAD_TESTS}::test_a_second_signal_ends_a_process_whose_loop_stands_still",),
    ),
    Mutant(
        "as much is fetched at once as librdkafka does by itself",
        (
            Edit(
                READER,
                "properties = FETCH_SIZES | dict(reading.properties)",
                "properties = dict(reading.properties)",
            ),
            Edit(READER, '            "message.max.bytes": FETCH_LEAST,\n', ""),
        ),
        (MEMORY_TESTS,),
    ),
    Mutant(
        "a member that has no part in its group says nothing",
        (Edit(SOURCE, "if now - self._outside_since >= OUTSIDE_SECONDS:", "if False:"),),
        (f"{LASTING_TESTS}::test_a_member_whose_group_has_no_coordinator_says_so_again_and_again",),
    ),
    Mutant(
        "a run with an end waits for ever for a group without a coordinator",
        (
            Edit(
                "adapters/kafka/ends.py", "if time.monotonic() - answered >= patience:", "if False:"
            ),
        ),
        (f"{LASTING_TESTS}::test_with_an_end_it_is_given_up",),
    ),
    Mutant(
        "what was known of a partition that was lost is told as if it still held",
        (Edit(REFUSALS, "return self._refused.keys() | self.lost", "return set()"),),
        (
            f"{LASTING_TESTS}::test_a_topic_that_may_not_be_read_any_more_is_told_again_and_unknown_until_it_may",
        ),
    ),
    Mutant(
        "the lag of a partition that is not known any more is left out of the metrics",
        (
            Edit(
                "ops/metric.py",
                "**dict.fromkeys(snapshot.unknown)}",
                "**dict.fromkeys(())}",
            ),
        ),
        (
            "tests/component/test_ops_metrics.py::"
            "test_what_is_not_known_any_more_is_told_as_unknown",
        ),
    ),
    Mutant(
        "the page tells a lag that holds no more",
        (Edit("ops/snapshot.py", "None if key in source.unknown else ", ""),),
        (
            "tests/component/test_ops_metrics.py::"
            "test_what_is_not_known_any_more_is_told_as_unknown",
        ),
    ),
    Mutant(
        "a run with an end waits for ever for what lasts at Kafka",
        (
            Edit(
                "loop/patience.py",
                "for since, why in self._source.lasting:",
                "for since, why in ():",
            ),
        ),
        ("tests/unit/loop/test_runner_stop.py",),
    ),
    Mutant(
        "advice: members that share in another way are told no cure",
        (
            Edit(
                "adapters/kafka/client.py",
                "    KafkaError.INCONSISTENT_GROUP_PROTOCOL: ",
                "    None: ",
            ),
        ),
        (f"{ADVICE_TESTS}::test_members_that_share_in_another_way_are_told_the_cure",),
    ),
    Mutant(
        "advice: an advertised address is taken for one of kafka.bootstrap_servers",
        (
            Edit(
                "adapters/kafka/client.py",
                "if code in _UNREACHED and (broker",
                "if code is None and (broker",
            ),
        ),
        (
            f"{ADVICE_TESTS}::"
            "test_an_advertised_address_that_cannot_be_resolved_is_not_told_as_bootstrap_servers",
        ),
    ),
    Mutant(
        "advice: a compacted dead-letter topic is not told as such",
        (
            Edit(
                "adapters/kafka/retrying_producer.py",
                "if code == KafkaError.INVALID_RECORD:",
                "if code is None:",
            ),
        ),
        (
            f"{ADVICE_TESTS}::"
            "test_a_compacted_dead_letter_topic_that_takes_no_letter_without_a_key_is_told_as_such",
        ),
    ),
    Mutant(
        "advice: offsets that are gone are begun anew without a word",
        (
            Edit(
                "adapters/kafka/beginning.py",
                "        if partitions:\n            log.info(",
                "        if False:\n            log.info(",
            ),
        ),
        (f"{ADVICE_TESTS}::test_a_group_whose_offsets_are_gone_says_where_it_begins_and_why",),
    ),
    Mutant(
        "a commit that fails on and on is told each time",
        (
            Edit(
                "loop/committing.py",
                "if now - self._logged.get(error, -math.inf) >= LOG_AGAIN_SECONDS:",
                "if True:",
            ),
        ),
        (
            "tests/unit/loop/test_runner.py::test_a_commit_that_fails_on_and_on_is_told_at_a_calm_pace",
        ),
    ),
    Mutant(
        "lines that are dropped are not told",
        (
            Edit(
                "ops/lines.py",
                "                self._dropped += 1\n                return",
                "                return",
            ),
        ),
        (
            f"{UNREAD_TESTS}::test_lines_beyond_the_bound_are_dropped_counted_and_told_where_they_would_have_stood",
        ),
    ),
    Mutant(
        "a partition is read from its beginning, whatever the group has committed",
        (Edit(OFFSETS, "= (tp.offset, (tp.metadata or", "= (0, (tp.metadata or"),),
        (
            f"{SOURCE_TESTS}::test_a_partition_begins_at_its_committed_offset_with_the_metadata_of_that_commit[real]",
        ),
        promise="I7",
    ),
    Mutant(
        "offsets at the end that hold no record are not passed: the position is 'last + 1'",
        (
            Edit(
                READER,
                "partition.position = max(partition.position, offset)",
                "pass",
            ),
        ),
        (f"{SOURCE_TESTS}::test_the_position_passes_what_holds_no_record[real]",),
        promise="I8",
    ),
    Mutant(
        "a pause is said before the assignment only, where the client ignores it",
        (
            Edit(
                ASSIGNMENT,
                "        self.apply_pauses(starts)  # only after",
                "        # only after",
            ),
        ),
        (f"{SOURCE_TESTS}::test_a_pause_from_before_the_assignment_holds[real]",),
        promise="I6",
    ),
    Mutant(
        "how a commit ended is not looked at",
        (Edit(COMMITS, "failed.setdefault(error or tp.error, [])", "failed.setdefault(None, [])"),),
        (
            f"{SOURCE_TESTS}::test_metadata_that_is_too_large_is_told_and_nothing_of_its_partition_is_committed[real]",
        ),
        promise="I3",
    ),
    Mutant(
        "a topic that was made anew while it was read is not told from the old one",
        (Edit(LOG_CHANGES, "if before.topic_id in (UNKNOWN, now.topic_id):", "if True:"),),
        (f"{STARTS_TESTS}::test_or_it_is_stopped_and_told_so",),
        promise="starts",
    ),
    Mutant(
        "a commit of a topic that was deleted counts for the one that was made anew",
        (Edit(STARTS, "return another_log(self.named, self.origin)", "return False"),),
        (f"{STARTS_TESTS}::test_a_commit_of_a_topic_that_was_deleted_is_void",),
        promise="starts",
    ),
    Mutant(
        "a map of another cluster's topic is trusted",
        (
            Edit(
                STARTS,
                "    if _of_another(named, origin):\n",
                "    if False:\n",
            ),
        ),
        (
            f"{STARTS_TESTS}::test_a_commit_that_was_brought_along_from_another_cluster_counts_without_its_map",
        ),
        promise="starts",
    ),
    Mutant(
        "a map is trusted beyond the log's end",
        (Edit(STARTS, "elif end is not None and already_settled.end > end:", "elif False:"),),
        (f"{STARTS_TESTS}::test_a_map_is_cut_where_the_log_ends",),
        promise="starts",
    ),
    Mutant(
        "partitions that are added begin where the group began",
        (
            Edit(STARTS, "number >= began.partitions or anew", "anew"),
            Edit(STARTS, "else began.at", "else OFFSET_END"),
        ),
        (f"{STARTS_TESTS}::test_partitions_that_are_added_to_a_topic_begin_at_their_beginning",),
        promise="starts",
    ),
    Mutant(
        "a partition without a commit begins at its end, whenever the group began",
        (Edit(STARTS, "OFFSET_BEGINNING if began is None or later else began.at", "OFFSET_END"),),
        (
            f"{STARTS_TESTS}::test_a_partition_whose_first_owner_died_before_its_commit_begins_where_the_group_began",
        ),
        promise="starts",
    ),
    Mutant(
        "what was found for an earlier assignment begins a later one",
        (Edit(SEEKING, "            if not search.ended:\n", "            if True:\n"),),
        ("tests/component/test_source_starts.py",),
        promise="starts",
    ),
    Mutant(
        "one start that is not known leaves all of the assignment unread",
        (
            Edit(
                BEGINNING,
                "        return self._take_on(starts)\n\n",
                "        return self._take_on({} if problems else starts)\n\n",
            ),
        ),
        ("tests/component/test_source_starts.py",),
        promise="I8",
    ),
    Mutant(
        "a member gives up what it was never told to read",
        (
            Edit(
                SOURCE,
                "self._consumer.incremental_unassign(reads)",
                "self._consumer.incremental_unassign(revoked)",
            ),
        ),
        ("tests/component/test_source_starts.py",),
    ),
    Mutant(
        "the answer to a commit is told apart by its offsets only",
        (
            Edit(
                COMMITS,
                "(tp.topic, tp.partition): _said(tp) for tp in answered",
                "(tp.topic, tp.partition): tp.offset for tp in answered",
            ),
            Edit(
                COMMITS,
                "key: (commit.offset, commit.metadata) for key, commit in sent.items()",
                "key: commit.offset for key, commit in sent.items()",
            ),
        ),
        ("tests/component/test_source_commits.py",),
        promise="I7",
    ),
    Mutant(
        "a last commit that could not be sent is confirmed by an earlier one",
        (
            Edit(
                COMMITS,
                "        wanted = self.send(commits)\n        until",
                "        self.send(commits)\n        wanted = self._sent[-1]\n        until",
            ),
        ),
        ("tests/component/test_source_commits.py",),
        promise="I7",
    ),
    Mutant(
        "a dead letter counts when it was sent, whatever the broker says",
        (
            Edit(
                OUTBOX,
                "            if error is None:\n                self._done",
                "            if True:\n                self._done",
            ),
        ),
        (
            "tests/contract/test_letters.py::test_a_letter_that_the_broker_refuses_is_not_acknowledged_and_tried_again",
        ),
        promise="I1",
    ),
    Mutant(
        "a dead letter of a revoked partition is written",
        (Edit(LETTERS, "if row.stage != Stage.DEAD_LETTER or raw is None:", "if raw is None:"),),
        (
            "tests/contract/test_letters.py::"
            "test_a_letter_of_a_partition_that_was_taken_away_is_not_written_any_more[real]",
        ),
        promise="fencing",
    ),
    Mutant(
        "where: what today's rules would reject is called dead-lettered",
        (
            Edit(
                "where/outcome.py",
                'return "unknown", known + today',
                'return "dead_lettered" if "rejected" in today else "unknown", known + today',
            ),
        ),
        ("tests/component/test_where.py",),
    ),
    Mutant(
        "where: what today's rules would skip is called skipped",
        (
            Edit(
                "where/outcome.py",
                "if row is Unread.NOTHING_SET and first is not None and first <= offset:",
                "if row is Unread.NOTHING_SET:",
            ),
        ),
        ("tests/component/test_where.py",),
    ),
    Mutant(
        "whatever is rejected is handed to the client at once",
        (
            Edit(OUTBOX, "if self._pending and self._handed_out >= BUDGET_BYTES:", "if False:"),
            Edit(
                OUTBOX, "if self._pending and self._handed_out + size > BUDGET_BYTES:", "if False:"
            ),
        ),
        ("tests/component/test_dead_letters.py",),
        promise="I6",
    ),
    Mutant(
        "a renewed client counts what the old one had",
        (
            Edit(
                OUTBOX,
                "        pending, self._pending = self._pending, "
                "{}\n        self._handed_out = 0\n",
                "        pending, self._pending = self._pending, {}\n",
            ),
        ),
        ("tests/component/test_dead_letters.py",),
        promise="I6",
    ),
    Mutant(
        "a request is sent after its time to start has passed",
        (
            Edit(CLIENT, "if call.too_late(call.began):", "if False:"),
            Edit(
                TRANSPORT,
                "if call.too_late(now):",
                "if now >= call.deadline:",
            ),
        ),
        (f"{API_TESTS}::test_a_call_whose_time_to_start_has_passed_is_not_sent[real]",),
        promise="fencing",
    ),
    Mutant(
        "a lost answer is told as a request that was never sent",
        (
            Edit(
                CLIENT,
                "return Response(None, sent=call.sent, error=words",
                "return Response(None, sent=False, error=words",
            ),
        ),
        (
            f"{API_TESTS}::test_without_an_answer_nobody_knows_whether_it_was_applied[real-reset-applied0]",
        ),
        promise="lost-answer",
    ),
    Mutant(
        "an interim answer other than 100 is taken for the answer",
        (Edit(FRAMING, "            if status >= 200:\n", "            if status != 100:\n"),),
        MATCHING,
        promise="matching",
    ),
    Mutant(
        "a connection is used again though something follows the answer",
        (
            Edit(FRAMING, "not self.early and not self._buffer", "not self.early"),
            Edit(TRANSPORT, "and is_fresh and self._is_silent()", "and is_fresh"),
        ),
        MATCHING,
        promise="matching",
    ),
    Mutant(
        "a connection is used again after whatever was read",
        (Edit(FRAMING, "return self.exact and self.ended", "return self.ended"),),
        MATCHING,
        promise="matching",
    ),
    Mutant(
        "a chunk's length is read as Python reads numbers",
        (Edit(FRAMING, 'rb"([0-9A-Fa-f]{1,12})', 'rb"([0-9A-Fa-fx+_]{1,12})'),),
        MATCHING,
        promise="matching",
    ),
    Mutant(
        "a head that ends with the connection is a head",
        (
            Edit(
                FRAMING,
                '            raise Ended("the connection ended")\n',
                '            data = b"\\r\\n"\n',
            ),
        ),
        MATCHING,
        promise="matching",
    ),
    Mutant(
        "an early answer counts on a connection that was used before",
        (Edit(TRANSPORT, "if self._again and answer.early:", "if False:"),),
        MATCHING,
        promise="matching",
    ),
    Mutant(
        "a connection is used again after a 5xx",
        (Edit(CLIENT, "answered = answer.status in KEPT_AFTER and", "answered = "),),
        MATCHING,
        promise="matching",
    ),
    Mutant(
        "a connection stands for ever",
        (Edit(TRANSPORT, " and now - self._stands_since < AGE_SECONDS", ""),),
        MATCHING,
        promise="I8",
    ),
    Mutant(
        "what TLS has taken from the socket is not looked at",
        (Edit(TRANSPORT, "self.pipe.take() is None", "self.pipe.below.take() is None"),),
        MATCHING,
        promise="matching",
    ),
    Mutant(
        "each address of a name has the whole time for connecting",
        (
            Edit(
                TRANSPORT,
                "now + (until - now) / (len(found) - number)",
                "now + 1.0",
            ),
        ),
        MATCHING,
        promise="I8",
    ),
    Mutant(
        "a CA file is read once",
        (Edit(TRUST, "        if self.ca_file:\n", "        if False:\n"),),
        TLS_TESTS,
        promise="I8",
    ),
)
