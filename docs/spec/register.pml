/* The register protocol for one key of one partition; docs/spec/README.md says what of it.
 *
 * Configuration (-D): HOLDERS ballots, ROWS rows each may send; KIND0.. the operations (below; 0: none);
 * MERGE, COLLECT, LAYOUT switch rules on; BUG_* leaves one rule out.
 *
 * Messages are never taken back: a Prepare or Accept that was sent may reach a replica at any later
 * time, any number of times, in any order, or never. A question (Learn, Read) is answered by a replica
 * at one moment of its own. A holder that stops is one that takes no more steps; every ballot is an
 * incarnation of its own. A replica syncs before it answers, so a crash leaves its state as it is.
 */

#define PUT 1       /* unconditional */
#define CREATE 2    /* If-None-Match: * */
#define DELETE 3    /* unconditional */
#define REMOVE 4    /* If-Match: * */
#define GET 5

#ifndef HOLDERS
#define HOLDERS 2
#endif
#ifndef ROWS
#define ROWS 2
#endif
#ifndef KIND0
#define KIND0 PUT
#endif
#ifndef KIND1
#define KIND1 CREATE
#endif
#ifndef KIND2
#define KIND2 GET
#endif
#ifndef KIND3
#define KIND3 0
#endif
#define OPS 4
#define RANKS (HOLDERS * ROWS)
#define BALLOT(k) (((k) + ROWS - 1) / ROWS)
#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define HAS(set, r) (((set) >> (r)) & 1)
#define TWO(a, b, c) ((a) + (b) + (c) >= 2)
#define QUORUM3(s, x, y, z) TWO(HAS(s, x), HAS(s, y), HAS(s, z))

#ifdef LAYOUT
/* A,B,C -> joint -> B,C,D: one ballot in each epoch, unless the configuration says otherwise. */
#define REPLICAS 4
#ifndef EPOCH
#define EPOCH(b) (b)
#endif
#ifdef BUG_JOINT_QUORUM_OF_ONE
#define QUORUM(e, s) ((e) < 3 -> QUORUM3(s, 0, 1, 2) : QUORUM3(s, 1, 2, 3))
#else
#define QUORUM(e, s) ((e) == 1 -> QUORUM3(s, 0, 1, 2) : ((e) == 3 -> QUORUM3(s, 1, 2, 3) : \
                      (QUORUM3(s, 0, 1, 2) && QUORUM3(s, 1, 2, 3))))
#endif
#define MEMBER(e, r) ((e) == 2 || ((e) == 1 && (r) < 3) || ((e) == 3 && (r) > 0))
#ifdef BUG_EPOCH_IGNORED
#define SERVES(r, e) MEMBER(e, r)
#else
#define SERVES(r, e) (epoch[r] == (e) && MEMBER(e, r))
#endif
#else
#define REPLICAS 3
#define EPOCH(b) 1
#define QUORUM(e, s) QUORUM3(s, 0, 1, 2)
#define SERVES(r, e) true
#endif

/* Replicas. Rank 0: the key is missing. */
byte promised[REPLICAS], rank[REPLICAS], low[REPLICAS];
bit committed[REPLICAS];
byte epoch[REPLICAS];
/* What was sent, and who said yes to it. */
bit prepare[HOLDERS + 1];
byte promise[HOLDERS + 1];
bit accept[RANKS + 1];
byte acks[RANKS + 1];
byte row[RANKS + 1];    /* its value; 0: a tombstone */
byte holds[RANKS + 1];  /* the operations it remembers */
/* Operations. */
#define NEW 0
#define PENDING 1
#define DOUBT 2    /* sent, the outcome unknown to its holder */
#define UNKNOWN 3  /* answered 503 */
#define DONE 4
byte state[OPS];
byte attempt[OPS];
#ifdef LAYOUT
bit settled;
byte reader;
#define READER reader
#else
#define READER 1
#endif
#ifdef BUG_PROMISE_LOST
bit crashed;
#endif
/* The monitor: every state the register may be in, with what each operation under way has done. */
#define CONFIGS 40
short config[CONFIGS];
byte configs = 1;
byte wrong;

c_decl {
#include "monitor.h"
}

byte answered, answer;
inline respond(op, result) {
  answered = op; answer = result;
  c_code { now.wrong = monitor_answer(now.config, &now.configs, now.state, now.answered, now.answer); };
  answered = 0; answer = 0; state[op] = DONE;
  assert(wrong == 0)
}

#define KIND(op) ((op) == 0 -> KIND0 : ((op) == 1 -> KIND1 : ((op) == 2 -> KIND2 : KIND3)))

/* One rank names one row for ever. */
#define send(k, value, remembers)                                                              \
  assert(!accept[k]); accept[k] = 1; row[k] = value; holds[k] = remembers

#ifdef BUG_FLOOR_IGNORED
#define FLOOR_ALLOWS(k, r) true
#else
#define FLOOR_ALLOWS(k, r) (k > low[r])
#endif
#ifdef BUG_MERGE_BELOW_FLOOR
#define MERGE_ALLOWS(k, r) true
#else
#define MERGE_ALLOWS(k, r) (k > low[r])
#endif
#ifdef BUG_MERGE_UNCOMMITTED
#define MERGEABLE(r) true
#else
#define MERGEABLE(r) committed[r]
#endif
#ifdef BUG_LEARN_UNPROMISED
#define LEARNS(r, b) true
#else
#define LEARNS(r, b) (promised[r] == b)
#endif


/* A replica takes Accept k, or not: `yes` says whether it acknowledges. */
inline take(r, k, yes) {
  yes = 0;
  if
  :: !SERVES(r, EPOCH(BALLOT(k))) || BALLOT(k) < promised[r] -> skip
  :: else ->
    if
    :: rank[r] > 0 && k > rank[r] || rank[r] == 0 && FLOOR_ALLOWS(k, r) ->
      rank[r] = k; committed[r] = 0; promised[r] = BALLOT(k); yes = 1
    :: rank[r] > 0 && k <= rank[r] && BALLOT(k) == BALLOT(rank[r]) -> yes = 1
    :: else -> skip
    fi
  fi
}
#define PREPARE_ARRIVES(b)                                                                     \
  :: atomic { b <= HOLDERS && prepare[b] && SERVES(r, EPOCH(b)) && b >= promised[r] &&        \
              !HAS(promise[b], r) -> promised[r] = b; promise[b] = promise[b] | (1 << r) }
#define ACCEPT_ARRIVES(k)                                                                      \
  :: atomic { k <= RANKS && accept[k] && (!HAS(acks[k], r) || rank[r] == 0) &&                \
              SERVES(r, EPOCH(BALLOT(k))) && BALLOT(k) >= promised[r] ->                       \
              take(r, k, yes); acks[k] = acks[k] | (yes << r); yes = 0 }
/* `Committed` of a chosen row. */
#define NOTICE                                                                                 \
  :: atomic { rank[r] > 0 && !committed[r] && QUORUM(EPOCH(BALLOT(rank[r])), acks[rank[r]]) -> \
              committed[r] = 1 }
#define MERGE_FROM(o)                                                                          \
  :: atomic { o < REPLICAS && o != r && rank[o] > rank[r] && MERGEABLE(o) && JOINED(r, o) &&   \
              (rank[r] > 0 || MERGE_ALLOWS(rank[o], r)) ->                                     \
              rank[r] = rank[o]; committed[r] = committed[o] }
#ifdef LAYOUT
#define JOINED(r, o) (epoch[r] == epoch[o] && epoch[r] > 1)
#else
#define JOINED(r, o) true
#endif
#ifdef BUG_COLLECT_UNPROVEN
#define PROVEN(t) (QUORUM3(SEEN(t), 0, 1, 2))
#else
#define PROVEN(t) (SEEN(t) == 7)
#endif
#define AT_LEAST(o, t) ((rank[o] > 0 && rank[o] >= t) || (rank[o] == 0 && low[o] >= t))
#define SEEN(t) (AT_LEAST(0, t) + 2 * AT_LEAST(1, t) + 4 * AT_LEAST(2, t))

proctype Replica(byte r) {
  bit yes;
  do
  PREPARE_ARRIVES(1)
  PREPARE_ARRIVES(2)
  PREPARE_ARRIVES(3)
  ACCEPT_ARRIVES(1)
  ACCEPT_ARRIVES(2)
  ACCEPT_ARRIVES(3)
  ACCEPT_ARRIVES(4)
  ACCEPT_ARRIVES(5)
  ACCEPT_ARRIVES(6)
#if defined(MERGE) || defined(COLLECT) || defined(LAYOUT)
  NOTICE
#endif
#ifdef MERGE
  MERGE_FROM(0)
  MERGE_FROM(1)
  MERGE_FROM(2)
  MERGE_FROM(3)
#endif
#ifdef COLLECT
  :: atomic { rank[r] > 0 && committed[r] && row[rank[r]] == 0 && PROVEN(rank[r]) ->
              low[r] = MAX(low[r], rank[r]); rank[r] = 0; committed[r] = 0 }
#endif
#ifdef FOREIGN_FLOOR
  /* The floor is the partition's: another key's tombstone raised it. */
  :: atomic { low[r] < ROWS && accept[low[r] + 1] -> low[r]++ }
#endif
#ifdef LAYOUT
  :: atomic { epoch[r] == 1 -> epoch[r] = 2 }
  :: atomic { epoch[r] == 2 && settled -> epoch[r] = 3 }
#endif
#ifdef BUG_PROMISE_LOST
  :: atomic { !crashed && promised[r] > 0 ->
              crashed = 1; promised[r] = (rank[r] > 0 -> BALLOT(rank[r]) : 0) }
#endif
  od
}

#ifdef LAYOUT
/* Step (b): what a quorum of the old set that has adopted joint holds highest was sent again in joint
   and chosen, or is committed and held by a quorum of the new set. */
#define OLD(r) (epoch[r] == 2 -> rank[r] : 0)
#define TOP MAX(OLD(0), MAX(OLD(1), OLD(2)))
#define ADOPTED TWO(epoch[0] == 2, epoch[1] == 2, epoch[2] == 2)
#define AT(r) (rank[r] == TOP)
#define FLAGGED(r) (AT(r) && committed[r])
proctype Settler() {
#ifdef BUG_UNSETTLED
  atomic { ADOPTED -> settled = 1 }
#else
  /* An empty key has nothing to settle; a row that a minority holds is sent again by a Holder. */
  atomic { ADOPTED && (TOP == 0 || (EPOCH(BALLOT(TOP)) == 2 && QUORUM(2, acks[TOP])) ||
                       ((FLAGGED(0) || FLAGGED(1) || FLAGGED(2)) && TWO(AT(1), AT(2), AT(3)))) ->
           settled = 1 }
#endif
}
#endif

/* What a set of replies says: the highest rank, who has it, whether it is known to be chosen, and the
   highest floor of a missing one. */
#define NOBODY 99
#define ABSENT(r) (reply[r] == 0 -> (1 << r) : 0)
#define SAID(r) (reply[r] != NOBODY -> (1 << r) : 0)
#ifdef LAYOUT
#define HEARD (SAID(0) | SAID(1) | SAID(2) | SAID(3))
#define NOWHERE (ABSENT(0) | ABSENT(1) | ABSENT(2) | ABSENT(3))
#else
#define HEARD (SAID(0) | SAID(1) | SAID(2))
#define NOWHERE (ABSENT(0) | ABSENT(1) | ABSENT(2))
#endif
inline judge() {
  got = 0; top = 0; same = 0; chosen = 0; floor = 0; i = 0;
  do
  :: i < REPLICAS ->
    if
    :: reply[i] == NOBODY -> skip
    :: else ->
      got = got | (1 << i);
      if
      :: reply[i] > top -> top = reply[i]; same = 1 << i; chosen = flag[i]
      :: reply[i] == top -> same = same | (1 << i); chosen = chosen | flag[i]
      :: else -> skip
      fi;
      if :: reply[i] == 0 -> floor = MAX(floor, under[i]) :: else -> skip fi
    fi;
    i++
  :: else -> break
  od;
  i = 0
}
inline forget_replies() {
  i = 0;
  do :: i < REPLICAS -> reply[i] = NOBODY; flag[i] = 0; under[i] = 0; i++ :: else -> break od;
  i = 0; got = 0; same = 0; floor = 0
}
/* It is judged as soon as a quorum has answered. */
#define ASKED(r, e, may)                                                                       \
  :: atomic { r < REPLICAS && reply[r] == NOBODY && may && SERVES(r, e) && !QUORUM(e, HEARD) ->\
              reply[r] = rank[r]; flag[r] = committed[r]; under[r] = low[r] }
#define AGAIN(r)                                                                               \
  :: atomic { r < REPLICAS && HAS(same, r) && LEARNS(r, b) && SERVES(r, EPOCH(b)) ->           \
              reply[r] = rank[r]; flag[r] = committed[r]; under[r] = low[r]; again = 1;        \
              stands = (rank[r] == top) }

inline learn() {
  d_step { forget_replies(); top = 0; chosen = 0; stands = 0 };
  again = 0;
  do
  ASKED(0, EPOCH(b), LEARNS(0, b))
  ASKED(1, EPOCH(b), LEARNS(1, b))
  ASKED(2, EPOCH(b), LEARNS(2, b))
#ifdef LAYOUT
  ASKED(3, EPOCH(b), LEARNS(3, b))
#endif
  :: atomic { QUORUM(EPOCH(b), HEARD) -> d_step { judge() };
      if
      :: top > 0 && floor >= top && !stands -> skip
      :: else -> break
      fi
     };
#ifdef BUG_FLOOR_HIDES
     /* A missing key counts as its floor. */
     atomic { top = 0; chosen = 1; break }
#else
     if
     AGAIN(0)
     AGAIN(1)
     AGAIN(2)
     fi
#endif
  od;
  skip;
  d_step {
    chosen = (chosen || QUORUM(EPOCH(b), same) -> 1 : 0);
    age = (top > 0 -> top : floor);
    forget_replies(); again = 0; stands = 0
  }
}

#define FREE(n) (KIND(n) >= PUT && KIND(n) <= REMOVE && state[n] == NEW)
#define PICK(n) :: atomic { FREE(n) && s < ROWS -> op = n; state[op] = PENDING }; break
#ifdef BUG_LOOK_UP_SAME_BALLOT
#define LOST(n) (state[n] == DOUBT && BALLOT(attempt[n]) <= b)
#else
#define LOST(n) (state[n] == DOUBT && BALLOT(attempt[n]) < b)
#endif
#define LOOK(n) :: atomic { LOST(n) && s < ROWS -> op = n; looking = 1 }; break
#define APPLIES(k) ((KIND(op) == CREATE && row[k] == 0) || (KIND(op) == REMOVE && row[k] != 0))
#define BLIND (KIND(op) == PUT || KIND(op) == DELETE)
#define NEXT ((b - 1) * ROWS + s)
#define FOUND (top > 0 && HAS(holds[top], op))
#ifdef BUG_412_ON_UNCHOSEN
#define HASTY true
#else
#define HASTY false
#endif
#ifdef BUG_CACHED_412
#define TRUSTS(k) true
#else
#define TRUSTS(k) APPLIES(k)
#endif

/* One incarnation of a node that takes the partition over with ballot b. */
proctype Holder(byte b) {
  byte op, s, i, got, top, same, floor, age, known = NOBODY;
  byte reply[REPLICAS], under[REPLICAS];
  bit flag[REPLICAS];
  bit chosen, again, stands, looking;

  atomic { prepare[b] = 1; forget_replies() };
  QUORUM(EPOCH(b), promise[b]);
next:
  atomic { op = 0; top = 0; age = 0; chosen = 0; looking = 0 };
  do
  PICK(0)
  PICK(1)
  PICK(2)
  PICK(3)
  LOOK(0)
  LOOK(1)
  LOOK(2)
  LOOK(3)
#ifdef LAYOUT
  /* Settles: what is there is sent again while joint. */
  :: EPOCH(b) == 2 && s < ROWS ->
     learn();
     atomic { top > 0 -> s++; send(NEXT, row[top], holds[top]) };
     atomic { QUORUM(EPOCH(b), acks[NEXT]) -> known = NEXT; top = 0; age = 0; chosen = 0 }
#endif
  od;
  if
  :: looking -> goto look_up
  :: !looking && BLIND ->
     atomic {
       s++;
       send(NEXT, (KIND(op) == PUT -> op + 1 : 0), (1 << op) | (known != NOBODY -> holds[known] : 0));
       goto sent
     }
  :: !looking && !BLIND -> skip
  fi;
  if
  :: known != NOBODY && TRUSTS(known) -> atomic { top = known; chosen = 1 }
  :: known == NOBODY || !TRUSTS(known) -> learn()
  fi;
  if
  :: APPLIES(top) ->
     atomic { s++; send(NEXT, (KIND(op) == CREATE -> op + 1 : 0), (1 << op) | holds[top]) }
  :: !APPLIES(top) && (chosen || HASTY) -> atomic { known = top; respond(op, 2); goto next }
  :: !APPLIES(top) && !(chosen || HASTY) ->
     /* A refusal may rest only on a chosen row. */
     atomic { s++; send(NEXT, row[top], holds[top]) };
     atomic { QUORUM(EPOCH(b), acks[NEXT]) -> known = NEXT; respond(op, 2); goto next }
  fi;
sent:
  if
  :: atomic { QUORUM(EPOCH(b), acks[NEXT]) -> known = NEXT; respond(op, 1); goto next }
  :: atomic { state[op] = DOUBT; attempt[op] = NEXT }
  fi;
#if defined(BUG_IN_DOUBT_FORGOTTEN) || defined(BUG_LOOK_UP_SAME_BALLOT)
  goto next;
#else
  goto stopped;  /* the ballot is given up: another one looks the operation up */
#endif

look_up:
  learn();
  if
  :: atomic { FOUND && chosen && LOST(op) -> known = top; respond(op, 1); goto next }
  :: atomic { !FOUND && age > attempt[op] && LOST(op) -> state[op] = UNKNOWN; goto next }
#ifdef BUG_CONFLICT_WITHOUT_BARRIER
  :: atomic { !FOUND && age < attempt[op] && LOST(op) -> respond(op, 0); goto next }
#else
  /* A barrier above the attempt. */
  :: atomic { !FOUND && age < attempt[op] -> s++; send(NEXT, row[top], holds[top]) }
#endif
  :: atomic { FOUND && !chosen -> s++; send(NEXT, row[top], holds[top]) }
  fi;
  atomic {
    QUORUM(EPOCH(b), acks[NEXT]) && LOST(op) ->
    known = NEXT;
    if
    :: FOUND -> respond(op, 1)
    :: else -> respond(op, 0)
    fi;
    goto next
  };
stopped:
  skip
}

#define RELAYS(r)                                                                              \
  :: atomic { r < REPLICAS && !HAS(same, r) && SERVES(r, e) && BALLOT(top) >= promised[r] ->   \
              take(r, top, yes); same = same | (yes << r); yes = 0 }

/* A GET, by any node that has adopted epoch e. */
proctype Reader(byte op; byte e) {
  byte i, got, top, same, floor;
  byte reply[REPLICAS], under[REPLICAS];
  bit flag[REPLICAS];
  bit chosen, yes;
  atomic { state[op] == NEW -> state[op] = PENDING; forget_replies() };
  do
  ASKED(0, e, true)
  ASKED(1, e, true)
  ASKED(2, e, true)
#ifdef LAYOUT
  ASKED(3, e, true)
#endif
  :: atomic { QUORUM(e, HEARD) -> d_step { judge() };
       /* A committed tombstone says the same as a missing row. */
       if
       :: top > 0 && row[top] == 0 && chosen -> same = same | NOWHERE
       :: else -> skip
       fi;
       d_step { i = 0; do :: i < REPLICAS -> reply[i] = NOBODY; flag[i] = 0; under[i] = 0; i++ :: else -> break od;
                i = 0; got = 0; floor = 0; chosen = 0 };
       break
     }
  od;
#ifdef BUG_RELAY_SKIPPED
  atomic { respond(op, 1 + row[top]); goto done };
#endif
  do
  :: atomic { QUORUM(e, same) -> respond(op, 1 + row[top]); goto done }
  RELAYS(0)
  RELAYS(1)
  RELAYS(2)
  RELAYS(3)
  od;
done:
  atomic { top = 0; same = 0 }
}

#define READS(n, e) if :: KIND##n == GET -> run Reader(n, e) :: else -> skip fi
init {
  atomic {
    byte r;
    for (r : 0 .. REPLICAS - 1) { epoch[r] = 1; run Replica(r) }
    for (r : 1 .. HOLDERS) { run Holder(r) }
    r = 0;
#ifdef LAYOUT
    run Settler();
#ifdef READ_EPOCH
    READER = READ_EPOCH;
#else
    if :: READER = 1 :: READER = 2 :: READER = 3 fi;
#endif
#endif
    READS(0, READER); READS(1, READER); READS(2, READER); READS(3, READER)
  }
}
