/* Configuration change (protocol.md, section 8), with writes and reads around
   it: a second failure in mid-change, a primary that was left out and does not
   know it, restarts, damage, learners.

   Three replicas, MIRRORS mirrors, WRITES writes, the first to key 0, the
   second to key 0 or 1. Record i of a log stands at position i, from 0; its
   tag is 4 * epoch + write. Announced records have at least their metadata;
   `value` says which values are there. `flushed[p, b]` counts the deliveries
   of p that b has made durable; p may learn of them at any later time. Values
   come from any member that has them, a freer rule than the chain's.

   Bounds: EPOCHS, CRASHES, RESTARTS, DAMAGES; LEARNERS lets those left out
   come back; TWO_COORDINATORS runs an old coordinator on. READS: how reads are
   looked at. Without it, as a property of every state: whoever may serve would
   answer nothing that is too old and nothing that is not committed. READS adds
   a reader that takes its steps one by one, CONFIRM one at a primary without a
   lease. Every other #ifdef is a rule broken on purpose.

   Scratch variables are hidden, so they are no part of a state; each is set
   before it is used in the same atomic step. */
#define N 3
#ifndef WRITES
#define WRITES 1
#endif
#ifndef MIRRORS
#define MIRRORS 1
#endif
#ifndef EPOCHS
#define EPOCHS 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef DAMAGES
#define DAMAGES 0
#endif
#ifndef MIN_REPLICAS
#define MIN_REPLICAS 2
#endif

#define L WRITES
#define ALL 7
#define NONE 9
#define BIT(i) (1 << (i))
#define IN(r, set) (((set) >> (r)) & 1)
#define COUNT(set) (IN(0, set) + IN(1, set) + IN(2, set))
#define AT(r, i) ((r) * L + (i))

/* A replica. */
byte tag[N * L], value[N];
byte announced[N], durable[N], committed[N];
byte flushed[N * N];
bit up[N], lease[N], damaged[N];
byte epoch_of[N]; /* epoch it is active in; 0: none since its restart */
byte ended[N];   /* highest epoch it ended another for; = active: takes part */
byte granted[N]; /* epoch whose primary may write here; 0: none */
#ifdef CUT_WITHOUT_UNDO
byte outcomes[N]; /* writes that it takes for done */
#endif
#ifdef SENDER_NOT_DRAINED
byte late[N], late_at[N]; /* in flight from a primary that "has stopped" */
#endif

/* The configuration store, and what has been used up of the bounds. */
byte members[EPOCHS + 1], survivors[EPOCHS + 1], mirrors[EPOCHS + 1];
byte primary[EPOCHS + 1], A[EPOCHS + 1], T[EPOCHS + 1];
byte stored, reserved;
byte crashes, restarts, damages;

/* Clients. */
bit issued[3], acknowledged[3];
bit second_key; /* key of write 2 */

/* Ghosts: what was exposed at each position, the newest exposed version of
   each key (position + 1), members that lost something or were left out. */
byte exposed[L], newest[2];
byte lost;
bit ever_damaged;

hidden byte x, y, best, holes, at, from, w;

#define KEY(t) (((t) & 3) == 2 && second_key)

#ifdef METADATA_WITHOUT_REQUEST
#define TELLS(r, i) IN(i, value[r])
#else
#define TELLS(r, i) 1
#endif
#define HOLDS(r, i, w) \
  (announced[r] > (i) && (tag[AT(r, i)] & 3) == (w) && TELLS(r, i))
#if WRITES > 1
#define KNOWS(r, w) (HOLDS(r, 0, w) || HOLDS(r, 1, w))
#else
#define KNOWS(r, w) HOLDS(r, 0, w)
#endif

#define PRIMARY_OF(r) primary[epoch_of[r]]
#define IS_PRIMARY(r) (up[r] && epoch_of[r] > 0 && PRIMARY_OF(r) == (r))
#ifdef ENDED_ORDERS
#define ACTING(r) IS_PRIMARY(r)
#else
#define ACTING(r) (IS_PRIMARY(r) && ended[r] == epoch_of[r])
#endif
#ifdef ENDED_SERVES
#define STANDS(r) (up[r] && epoch_of[r] > 0)
#else
#define STANDS(r) (up[r] && epoch_of[r] > 0 && ended[r] == epoch_of[r])
#endif
#define COMPLETE(r) (announced[r] >= A[epoch_of[r]])
#define SERVES(r) (STANDS(r) && lease[r] && COMPLETE(r))

/* Enough members to acknowledge writes. */
#ifdef EMPTY_LEARNER_COUNTS
#define AT_ONCE(e) members[e]
#define ENOUGH(e) (COUNT(members[e]) >= MIN_REPLICAS)
#else
#define AT_ONCE(e) survivors[e]
#define FULL(r, e)                                       \
  (IN(r, survivors[e]) ||                                \
   (IN(r, members[e]) && flushed[primary[e] * N + (r)] >= A[e]))
#define ENOUGH(e) (FULL(0, e) + FULL(1, e) + FULL(2, e) >= MIN_REPLICAS)
#endif

#ifdef COMPLETE_AT_T
#define START(e) T[e]
#else
#define START(e) A[e]
#endif

/* Members of epoch e that could give the value at i. */
#define GIVES(s, e, i) \
  (up[s] && epoch_of[s] == (e) && announced[s] > (i) && IN(i, value[s]))
#define VALUE_IN(e, i) (GIVES(0, e, i) || GIVES(1, e, i) || GIVES(2, e, i))
#define COPY(s, e, i) (GIVES(s, e, i) && durable[s] > (i))
#define COPIES_IN(e, i) (COPY(0, e, i) + COPY(1, e, i) + COPY(2, e, i))
#define ON_POOL(s, i, t) \
  (tag[AT(s, i)] == (t) && durable[s] > (i) && IN(i, value[s]))

/* Member s of r's configuration has record i of r, or at least its metadata. */
#define HAS(r, s, i) \
  (IN(s, members[epoch_of[r]]) && tag[AT(s, i)] == tag[AT(r, i)] && \
   durable[s] > (i))

/* Reads. The newest version of key k at r below watermark wm; 0: absent. */
#define HIT(r, k, i, wm) \
  ((wm) > (i) && tag[AT(r, i)] != 0 && KEY(tag[AT(r, i)]) == (k))
#if WRITES > 1
#define NEWEST(r, k, wm) \
  (HIT(r, k, 1, wm) -> 2 : (HIT(r, k, 0, wm) -> 1 : 0))
#else
#define NEWEST(r, k, wm) (HIT(r, k, 0, wm) -> 1 : 0)
#endif
#define MINIMUM(a, b) ((a) < (b) -> (a) : (b))
#define MAXIMUM(a, b) ((a) > (b) -> (a) : (b))
/* The watermark that r gets to know: its own, or the primary's commit cell. */
#define CELL_READABLE(r) (up[PRIMARY_OF(r)] && epoch_of[PRIMARY_OF(r)] == epoch_of[r])
#define CELL(r) MINIMUM(announced[r], \
                        MAXIMUM(committed[r], committed[PRIMARY_OF(r)]))
#define PENDING(r, k) (NEWEST(r, k, announced[r]) > NEWEST(r, k, committed[r]))
/* Committed, but by whom is not known here: the key is unavailable. */
#ifdef BELOW_MINIMUM_OLD
#define REFUSED(r, k, wm) false
#else
#define REFUSED(r, k, wm) \
  (NEWEST(r, k, MINIMUM(announced[r], A[epoch_of[r]])) > NEWEST(r, k, wm))
#endif
#define WRONG(r, k, wm)                                             \
  (!REFUSED(r, k, wm) &&                                            \
   (NEWEST(r, k, wm) == 0 || VALUE_IN(epoch_of[r], NEWEST(r, k, wm) - 1)) && \
   (NEWEST(r, k, wm) < newest[k] ||                                 \
    (NEWEST(r, k, wm) > 0 &&                                        \
     exposed[NEWEST(r, k, wm) - 1] != tag[AT(r, NEWEST(r, k, wm) - 1)])))
#define WRONG_READ(r, k)                                            \
  (SERVES(r) &&                                                     \
   (PENDING(r, k) && PRIMARY_OF(r) != (r)                           \
      -> (CELL_READABLE(r) && WRONG(r, k, CELL(r)))                 \
      : WRONG(r, k, committed[r])))

/* Record i of r may be known to clients from now on. */
inline expose(r, i) {
  y = tag[AT(r, i)];
  assert(y != 0);
  assert(exposed[i] == 0 || exposed[i] == y); /* one record at a position */
  exposed[i] = y;
#if WRITES > 1
  assert((exposed[0] & 3) != (exposed[1] & 3)); /* one effect of a request */
#endif
  newest[KEY(y)] = MAXIMUM(newest[KEY(y)], i + 1)
}

inline acknowledge(r, i) {
  y = tag[AT(r, i)];
  assert(exposed[i] == y);
  assert(MIN_REPLICAS <= MIRRORS || /* too few members to keep the promise */
         ON_POOL(0, i, y) + ON_POOL(1, i, y) + ON_POOL(2, i, y) + damages >
           MIRRORS);
  assert(HAS(r, 0, i) + HAS(r, 1, i) + HAS(r, 2, i) + damages >= MIN_REPLICAS);
  acknowledged[y & 3] = 1
}

inline forget(r, first) { /* everything from `first` on */
  x = first;
  do
  :: x < L ->
     tag[AT(r, x)] = 0;
     value[r] = value[r] & (255 - BIT(x));
     x++
  :: else -> break
  od;
  announced[r] = first;
  durable[r] = MINIMUM(durable[r], first)
}

/* at = how far the log of r is what the history up to epoch `last` says. */
inline read_against_history(r, last) {
  at = 0;
  do
  :: at < announced[r] ->
#ifdef NO_HISTORY
     at++
#else
     x = last;
     do
     :: x > 1 && (T[x] > at || members[x] == 0) -> x--
     :: else -> break
     od;
     if
     :: tag[AT(r, at)] / 4 == x -> at++
     :: else -> break
     fi
#endif
  :: else -> break
  od
}

proctype Replica(byte r) {
  do
  :: atomic { /* order a write, or the retry of one that is not known here */
       ACTING(r) && announced[r] < L && announced[r] >= T[epoch_of[r]] &&
       ENOUGH(epoch_of[r]) ->
       if
       :: !acknowledged[1] && !KNOWS(r, 1) -> w = 1
#if WRITES > 1
       :: !acknowledged[2] && issued[1] && !KNOWS(r, 2) -> w = 2
#endif
       :: else -> w = 0
       fi;
       if
       :: w > 0 ->
          tag[AT(r, announced[r])] = 4 * epoch_of[r] + w;
          value[r] = value[r] | BIT(announced[r]);
          announced[r]++;
          issued[w] = 1;
#ifdef CUT_WITHOUT_UNDO
          outcomes[r] = outcomes[r] | BIT(w)
#endif
       :: else
       fi
     }
  :: atomic {
       up[r] && durable[r] < announced[r] && (epoch_of[r] == 0 || PRIMARY_OF(r) == r) ->
       durable[r]++
     }
  :: atomic { /* a delivery lands; its sender may be dead by now */
       up[r] && granted[r] > 0 && primary[granted[r]] != r &&
       epoch_of[primary[granted[r]]] == granted[r] &&
       announced[primary[granted[r]]] > announced[r] &&
       (announced[r] < A[granted[r]] ||
        IN(announced[r], value[primary[granted[r]]])) ->
       from = primary[granted[r]];
       at = announced[r];
       tag[AT(r, at)] = tag[AT(from, at)];
       if
       :: IN(r, mirrors[granted[r]]) && IN(at, value[from]) ->
          value[r] = value[r] | BIT(at)
       :: else
       fi;
#ifdef LEARNER_SKIPS_HOLES
       if
       :: !IN(at, value[from]) -> tag[AT(r, at)] = 0
       :: else
       fi;
#endif
       announced[r]++
     }
  :: atomic { /* its flush: durable here, and the primary may learn of it */
       up[r] && granted[r] > 0 && primary[granted[r]] != r &&
       epoch_of[primary[granted[r]]] == granted[r] &&
       flushed[primary[granted[r]] * N + r] < announced[primary[granted[r]]] &&
#ifndef COMMIT_WITHOUT_FLUSH
       flushed[primary[granted[r]] * N + r] < announced[r] &&
       (!IN(r, mirrors[granted[r]]) ||
        flushed[primary[granted[r]] * N + r] < A[granted[r]] ||
        IN(flushed[primary[granted[r]] * N + r], value[r])) &&
#endif
       true ->
       from = primary[granted[r]];
       flushed[from * N + r]++;
#ifndef COMMIT_WITHOUT_FLUSH
       durable[r] = MAXIMUM(durable[r], flushed[from * N + r])
#endif
     }
  :: atomic { /* a value, by the chain or delivered again */
       up[r] && epoch_of[r] > 0 && granted[r] == epoch_of[r] ->
       if
       :: announced[r] > 0 && !IN(0, value[r]) && VALUE_IN(epoch_of[r], 0) ->
          value[r] = value[r] | 1
#if WRITES > 1
       :: announced[r] > 1 && !IN(1, value[r]) && VALUE_IN(epoch_of[r], 1) ->
          value[r] = value[r] | 2
#endif
       :: else
       fi
     }
  :: atomic { /* the primary fetches what it lacks below T */
       ACTING(r) && announced[r] < T[epoch_of[r]] &&
       VALUE_IN(epoch_of[r], announced[r]) ->
       at = announced[r];
       from = (GIVES(0, epoch_of[r], at) -> 0 : (GIVES(1, epoch_of[r], at) -> 1 : 2));
       tag[AT(r, at)] = tag[AT(from, at)];
       value[r] = value[r] | BIT(at);
       announced[r]++
     }
  :: atomic { /* commit */
       ACTING(r) && committed[r] < announced[r] && ENOUGH(epoch_of[r]) &&
       committed[r] < durable[r] &&
       (committed[r] < A[epoch_of[r]] || IN(committed[r], value[r])) &&
       (r == 0 || !IN(0, members[epoch_of[r]]) || flushed[r * N + 0] > committed[r]) &&
       (r == 1 || !IN(1, members[epoch_of[r]]) || flushed[r * N + 1] > committed[r]) &&
       (r == 2 || !IN(2, members[epoch_of[r]]) || flushed[r * N + 2] > committed[r]) ->
       at = committed[r];
       x = epoch_of[r] + 1; /* no later configuration has cut it away */
       do
       :: x <= stored -> assert(members[x] == 0 || A[x] > at); x++
       :: else -> break
       od;
       expose(r, at);
       committed[r]++
     }
  :: atomic { /* the reply, or that to a retry */
       ACTING(r) && ENOUGH(epoch_of[r]) ->
       if
       :: committed[r] > 0 && !acknowledged[tag[AT(r, 0)] & 3] -> at = 0
#if WRITES > 1
       :: committed[r] > 1 && !acknowledged[tag[AT(r, 1)] & 3] -> at = 1
#endif
       :: else -> at = NONE
       fi;
       if
       :: at == NONE
#ifndef RETRY_ACKNOWLEDGED_AT_ONCE
       :: at != NONE && at < A[epoch_of[r]] && COPIES_IN(epoch_of[r], at) <= MIRRORS
#endif
       :: else -> acknowledge(r, at)
       fi
     }
#ifdef CUT_WITHOUT_UNDO
  :: atomic { /* a retry finds the outcome of what was cut away */
       ACTING(r) && ENOUGH(epoch_of[r]) && IN(1, outcomes[r]) && !KNOWS(r, 1) &&
       announced[r] >= T[epoch_of[r]] ->
       assert(false)
     }
#endif
  :: atomic { /* the commit watermark arrives */
       up[r] && granted[r] > 0 && primary[granted[r]] != r &&
       epoch_of[primary[granted[r]]] == granted[r] &&
       committed[r] < committed[primary[granted[r]]] &&
       announced[r] > committed[r] ->
       committed[r]++
     }
#ifdef SENDER_NOT_DRAINED
  :: atomic { /* what was in flight lands after all */
       up[r] && late[r] != 0 ->
       tag[AT(r, late_at[r])] = late[r];
       late[r] = 0;
       late_at[r] = 0
     }
#endif
  :: atomic { lease[r] -> lease[r] = 0 }
  :: atomic { up[r] && crashes < CRASHES -> crashes++; up[r] = 0; lease[r] = 0 }
  :: atomic {
       !up[r] && restarts < RESTARTS ->
       restarts++;
       up[r] = 1;
       if
       :: at = durable[r] /* the power failed */
       :: durable[r] < announced[r] -> at = announced[r]; durable[r] = at
       :: damages < DAMAGES && durable[r] > 0 ->
          damages++;
          ever_damaged = 1;
          lost = lost | BIT(r);
          damaged[r] = 1;
          if
          :: at = 0
          :: at = durable[r] - 1
          fi
       fi;
       forget(r, at);
#ifdef EPOCH_RESUMED
       ended[r] = epoch_of[r];
       granted[r] = epoch_of[r];
       committed[r] = MINIMUM(committed[r], announced[r])
#else
       epoch_of[r] = 0;
       granted[r] = 0;
       committed[r] = 0;
       flushed[r * N + 0] = 0;
       flushed[r * N + 1] = 0;
       flushed[r * N + 2] = 0
#endif
     }
  od
}

/* Whether r counts for the next configuration: undamaged, complete. */
#ifdef DAMAGED_COUNTS
#define SOUND(r) true
#else
#define SOUND(r) (!damaged[r])
#endif
#ifdef INCOMPLETE_COUNTS
#define COUNTS(r, e) SOUND(r)
#else
#define COUNTS(r, e) (SOUND(r) && at >= START(e))
#endif
#define REPORTED(s, i) (IN(s, chosen) && report[s] > (i))
#define REPORTED_VALUE(s, i) (REPORTED(s, i) && IN(i, value[s]))
#define SOME_VALUE(i) \
  (REPORTED_VALUE(0, i) || REPORTED_VALUE(1, i) || REPORTED_VALUE(2, i))
#define SAME_AT(s, u, i) \
  (!REPORTED(s, i) || !REPORTED(u, i) || announced[s] <= (i) || \
   announced[u] <= (i) || tag[AT(s, i)] == tag[AT(u, i)])

#define RESTART_CHANGE atomic { reserved < EPOCHS -> goto again }

/* The r-th in the old order: the old primary first. */
#define IN_OLD_ORDER(i) ((i) == 0 -> primary[base] : ((i) - 1) % N)

inline end_at(r) {
  ended[r] = epoch;
#ifdef SENDER_NOT_DRAINED
  /* The primary said that it had stopped, so its grant stays. */
  from = (granted[r] > 0 -> primary[granted[r]] : r);
  if
  :: from != r && up[from] && ended[from] == epoch && late[r] == 0 &&
     announced[from] > announced[r] ->
     late_at[r] = announced[r];
     late[r] = tag[AT(from, announced[r])]
  :: else
  fi;
#endif
#ifndef EPOCH_CHECK_ONLY
  granted[r] = 0;
#endif
  read_against_history(r, stored);
#ifndef REPORT_BEFORE_PERSIST
  durable[r] = announced[r];
#endif
  report[r] = at;
  answered = answered | BIT(r);
  if
  :: IN(r, chosen) ->
     reached = MAXIMUM(reached, committed[r]);
     if
     :: COUNTS(r, base)
     :: else ->
        chosen = chosen & (ALL - BIT(r));
#ifdef LEARNERS
        learners = learners | BIT(r)
#else
        done = done & (ALL - BIT(r))
#endif
     fi
  :: else
  fi
}

inline cut() {
  start = L;
  x = 0;
  do
  :: x < N ->
     if
     :: IN(x, chosen) -> start = MINIMUM(start, report[x])
     :: else
     fi;
     x++
  :: else -> break
  od;
  end = start;
  do
#ifdef CUT_AT_GREATEST
  :: end < L && (REPORTED(0, end) || REPORTED(1, end) || REPORTED(2, end)) -> end++
#else
  :: end < L && SOME_VALUE(end) -> end++
#endif
  :: else -> break
  od;
  best = 255;
  y = 0;
  w = 0;
  do
  :: w <= N ->
     from = IN_OLD_ORDER(w);
     if
     :: IN(from, chosen) ->
        holes = 0;
        x = 0;
        do
        :: x < end ->
           if
           :: REPORTED_VALUE(from, x)
           :: else -> holes++
           fi;
           x++
        :: else -> break
        od;
        if
        :: holes < best -> best = holes; y = from
        :: else
        fi
     :: else
     fi;
     w++
  :: else -> break
  od;
  members[epoch] = chosen | learners;
  survivors[epoch] = chosen;
  primary[epoch] = y;
  A[epoch] = start;
  T[epoch] = end;
  /* Mirrors: the first after the primary, survivors before learners. */
  holes = 0;
  x = 0;
  w = 0;
  do
  :: w <= 2 * N ->
     from = IN_OLD_ORDER(w);
     if
     :: holes < MIRRORS && from != y && !IN(from, x) &&
        ((w <= N && IN(from, chosen)) || (w > N && IN(from, learners))) ->
        x = x | BIT(from);
        holes++
     :: else
     fi;
     w++
  :: else -> break
  od;
  mirrors[epoch] = x;
  lost = lost | (members[base] & (ALL - chosen))
}

inline check_cut() {
  x = 0;
  do
  :: x < L ->
     /* What was exposed is below A, and every survivor has it. */
     assert(exposed[x] == 0 || x < start);
     assert(exposed[x] == 0 || !IN(0, chosen) || (report[0] > x && (announced[0] <= x || tag[AT(0, x)] == exposed[x])));
     assert(exposed[x] == 0 || !IN(1, chosen) || (report[1] > x && (announced[1] <= x || tag[AT(1, x)] == exposed[x])));
     assert(exposed[x] == 0 || !IN(2, chosen) || (report[2] > x && (announced[2] <= x || tag[AT(2, x)] == exposed[x])));
     /* No hole from A on, and none at all while few enough are lost. */
     assert(x >= end || (x < start && COUNT(lost) > MIRRORS) || SOME_VALUE(x));
     /* Survivors agree. */
     assert(SAME_AT(0, 1, x) && SAME_AT(0, 2, x) && SAME_AT(1, 2, x));
     x++
  :: else -> break
  od
}

inline activate(r) {
  read_against_history(r, epoch);
#ifdef NO_HISTORY
  at = MINIMUM(at, end);
#endif
#ifdef UNCUT_TAIL_COUNTS
  at = (IN(r, learners) -> announced[r] : at);
#endif
  forget(r, at);
#ifdef RING_DROPPED
  x = 0;
  do
  :: x < at ->
     if
     :: !IN(x, value[r]) -> tag[AT(r, x)] = 0
     :: else
     fi;
     x++
  :: else -> break
  od;
#endif
  epoch_of[r] = epoch;
  granted[r] = epoch;
  lease[r] = 1;
  damaged[r] = 0;
#ifdef TAIL_COUNTS_AS_COMMITTED
  committed[r] = end;
#else
  committed[r] = (COUNT(AT_ONCE(epoch)) >= MIN_REPLICAS -> start : reached);
#endif
  flushed[r * N + 0] = 0;
  flushed[r * N + 1] = 0;
  flushed[r * N + 2] = 0;
  if
  :: r == primary[epoch] ->
     x = 0;
     do
     :: x < N ->
        if
        :: IN(x, chosen) && x != r ->
#ifdef TAIL_COUNTS_AS_COMMITTED
           flushed[r * N + x] = end
#else
           flushed[r * N + x] = start
#endif
        :: else
        fi;
        x++
     :: else -> break
     od
  :: else
  fi;
  w = 0; /* below the watermark everything is committed now */
  do
  :: w < announced[r] && w < committed[r] ->
     if
     :: tag[AT(r, w)] != 0 -> expose(r, w)
     :: else
     fi;
     w++
  :: else -> break
  od;
  done = done | BIT(r)
}

proctype Coordinator() {
  byte base, epoch, chosen, learners, done, answered, start, end, reached, r;
  byte report[N];

again:
  atomic { /* suspect and reserve: any of those that are up may be missed */
    chosen = 0;
    learners = 0;
    done = 0;
    answered = 0;
    start = 0;
    end = 0;
    reached = 0;
    report[0] = 0;
    report[1] = 0;
    report[2] = 0;
    r = 0;
    reserved < EPOCHS ->
    reserved++;
    epoch = reserved;
    base = stored;
    do
    :: r < N ->
       if
#ifdef SURVIVORS_NOT_OF_THE_STORED
       :: up[r] -> chosen = chosen | BIT(r)
#else
       :: up[r] && IN(r, members[base]) -> chosen = chosen | BIT(r)
#endif
#ifdef LEARNERS
       :: up[r] && !IN(r, members[base]) -> learners = learners | BIT(r)
#endif
       :: true
       fi;
       r++
    :: else -> break
    od;
    r = 0;
    if
    :: chosen == 0 -> goto stop
    :: else
    fi
  }
  do /* end the old epoch */
  :: atomic {
       done != (chosen | learners) ->
       if
       :: IN(0, chosen | learners) && !IN(0, done) -> r = 0
       :: IN(1, chosen | learners) && !IN(1, done) -> r = 1
       :: IN(2, chosen | learners) && !IN(2, done) -> r = 2
       fi;
       if
       :: !up[r] || ended[r] > epoch -> goto again
       :: else
       fi;
       done = done | BIT(r);
       end_at(r);
       r = 0
     }
  :: atomic { done == (chosen | learners) -> break }
  :: RESTART_CHANGE
  od;
  atomic { /* judge, cut, store */
#ifndef NO_COMPARE_AND_SWAP
    if
    :: reserved != epoch -> goto again
    :: else
    fi;
#endif
    /* A shard that has lost few enough members undamaged goes on. */
    assert(chosen != 0 || ever_damaged ||
           COUNT(ALL & (255 - (answered & members[base]))) > MIRRORS);
    if
    :: chosen == 0 -> goto again
    :: else
    fi;
    cut();
#ifndef STORE_AFTER_ACTIVATE
    stored = epoch;
#endif
    check_cut();
    done = 0
  }
#ifndef NO_LEASE_WAIT
  if /* wait for the leases of everybody left out, whatever their epoch */
#ifdef WAIT_FOR_LAST_MEMBERS
  :: atomic {
       (IN(0, chosen | learners) || !lease[0] || !IN(0, members[base])) &&
       (IN(1, chosen | learners) || !lease[1] || !IN(1, members[base])) &&
       (IN(2, chosen | learners) || !lease[2] || !IN(2, members[base]))
     }
#else
  :: atomic {
       (IN(0, chosen | learners) || !lease[0]) &&
       (IN(1, chosen | learners) || !lease[1]) &&
       (IN(2, chosen | learners) || !lease[2])
     }
#endif
  :: RESTART_CHANGE
  fi;
#endif
  do /* adopt and activate */
  :: atomic {
       done != (chosen | learners) ->
       if
       :: IN(0, chosen | learners) && !IN(0, done) -> r = 0
       :: IN(1, chosen | learners) && !IN(1, done) -> r = 1
       :: IN(2, chosen | learners) && !IN(2, done) -> r = 2
       fi;
       if
       :: !up[r] || ended[r] != epoch ||
          (IN(r, chosen) && (damaged[r] || announced[r] < report[r])) ->
          goto again
       :: else
       fi;
#ifdef TWO_COORDINATORS
       /* Only the leader grants leases (lease.pml); an old one notices. */
       if
       :: stored != epoch -> goto again
       :: else
       fi;
#endif
       activate(r);
       r = 0
     }
  :: atomic { done == (chosen | learners) -> break }
  :: RESTART_CHANGE
  od;
#ifdef STORE_AFTER_ACTIVATE
  stored = epoch;
#endif
  goto again;
stop:
  skip
}

/* Reads as a property of every state. */
proctype Reads() {
  do
  :: atomic { WRONG_READ(0, 0) -> assert(false) }
  :: atomic { WRONG_READ(1, 0) -> assert(false) }
  :: atomic { WRONG_READ(2, 0) -> assert(false) }
#if WRITES > 1
  :: atomic { WRONG_READ(0, 1) -> assert(false) }
  :: atomic { WRONG_READ(1, 1) -> assert(false) }
  :: atomic { WRONG_READ(2, 1) -> assert(false) }
#endif
  od
}

#ifdef CONFIRM
/* A primary without a lease asks the epoch cell of every backup, one by one. */
proctype Reader() {
  byte r, e, before, asked, answer;
  do
  :: atomic {
       if
       :: ACTING(0) && !lease[0] -> r = 0
       :: ACTING(1) && !lease[1] -> r = 1
       :: ACTING(2) && !lease[2] -> r = 2
       fi;
       e = epoch_of[r];
       before = newest[0]
     }
     do
     :: atomic { asked < N && (asked == r || !IN(asked, members[e])) -> asked++ }
     :: atomic {
          asked < N && asked != r && IN(asked, members[e]) && up[asked] &&
          epoch_of[asked] == e && ended[asked] == e ->
#ifdef ONE_CONFIRMS
          asked = N
#else
          asked++
#endif
        }
     :: atomic {
          asked < N && asked != r && IN(asked, members[e]) &&
          (!up[asked] || epoch_of[asked] != e || ended[asked] != e) ->
          goto given_up
        }
     :: atomic { asked == N -> break }
     od;
     atomic {
       if
       :: up[r] && epoch_of[r] == e && COMPLETE(r) &&
          !REFUSED(r, 0, committed[r]) ->
          answer = NEWEST(r, 0, committed[r]);
          assert(answer >= before ||
                 (answer > 0 && !VALUE_IN(e, answer - 1)))
       :: else
       fi
     }
given_up:
     atomic { r = 0; e = 0; before = 0; asked = 0; answer = 0 }
  od
}
#endif

init {
  atomic {
    x = 0;
    do
    :: x < N ->
       up[x] = 1;
       epoch_of[x] = 1;
       ended[x] = 1;
       granted[x] = 1;
       lease[x] = 1;
       x++
    :: else -> break
    od;
    members[1] = ALL;
    survivors[1] = ALL;
    mirrors[1] = (MIRRORS > 0 -> BIT(1) : 0);
    stored = 1;
    reserved = 1;
#if WRITES > 1
    if
    :: second_key = 0
    :: second_key = 1
    fi;
#endif
    run Replica(0);
    run Replica(1);
    run Replica(2);
    run Coordinator();
#ifdef TWO_COORDINATORS
    run Coordinator();
#endif
#ifdef CONFIRM
    run Reader();
#endif
    run Reads()
  }
}
