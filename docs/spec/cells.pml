/* Pairs of cells (protocol.md, sections 4 and 8).

   READING: a reader takes the two slots of a pair one after the other while
   more cells are written. What it ends with is no older than what was whole
   when it began.

   POWER: batches, each with a delivery cell behind it; the power fails at any
   time. What was flushed comes back, everything else by chance, word by word.
   A replica whose memory came back as promised is never judged damaged, and
   one that lost a record below the proven floor always is; the floor leaves
   out the last flushed batch at most.

   Each other #ifdef is a rule broken on purpose. */
#ifndef CELLS
#define CELLS 6
#endif
#define TORN 255

byte slot[2];

#ifdef READING
byte newest;

active proctype Writer() {
  byte next = 1;
  do
  :: next <= CELLS ->
     slot[next % 2] = TORN;
     atomic { slot[next % 2] = next; newest = next; next++ }
  :: else -> break
  od
}

active proctype Reader() {
  byte before, first, second, other;
  do
  :: before = newest;
again:
     if /* either slot first */
     :: other = 0
     :: other = 1
     fi;
     first = slot[other];
     other = 1 - other;
     second = slot[other];
     other = 1 - other;
     if
     :: atomic {
          second != TORN ->
          if
          :: first != TORN && first > second
          :: else -> first = second
          fi
        }
     :: atomic { second == TORN && first == TORN -> goto again }
     :: second == TORN && first != TORN ->
#ifndef PAIR_READ_ONCE
        if
        :: atomic { slot[other] == first }
        :: atomic { slot[other] != first -> goto again }
        fi
#endif
     fi;
     assert(first >= before);
     atomic { before = 0; first = 0; second = 0; other = 0 }
  od
}
#endif

#ifdef POWER
#ifdef TWO_BATCHES_IN_FLIGHT
#define IN_FLIGHT 2
#else
#define IN_FLIGHT 1
#endif
/* Batch i is whole[i]: its records have reached persistence. */
byte posted, flushed;
bit whole[CELLS + 1];

inline judge(floor_) {
#ifdef NEWEST_WHOLE_CELL_IS_PROVEN
  if
  :: slot[0] != TORN && (slot[1] == TORN || slot[0] > slot[1]) -> floor_ = slot[0]
  :: else -> floor_ = slot[1]
  fi
#else
  if
  :: slot[0] != TORN && (slot[1] == TORN || slot[0] < slot[1]) -> floor_ = slot[0]
  :: else -> floor_ = slot[1]
  fi
#endif
}

active proctype Replica() {
  byte floor_, i;
  do
  :: atomic { posted < CELLS && posted < flushed + IN_FLIGHT -> posted++ }
  :: atomic { /* what is in flight persists piece by piece, in any order */
       i = flushed + 1;
       do
       :: i < posted -> i++
       :: break
       od;
       if
       :: i <= posted -> whole[i] = 1
       :: i <= posted && slot[i % 2] < i -> slot[i % 2] = TORN
       :: i <= posted && slot[i % 2] == TORN -> slot[i % 2] = i
       :: else
       fi;
       i = 0
     }
  :: atomic { /* the flush of the oldest: nothing of it is left behind */
       flushed < posted ->
       flushed++;
       whole[flushed] = 1;
       if
       :: slot[flushed % 2] == TORN || slot[flushed % 2] < flushed ->
          slot[flushed % 2] = flushed
       :: else
       fi
     }
  :: atomic { /* the power fails */
       judge(floor_);
       assert(floor_ != TORN);
       i = 1;
       do
       :: i <= floor_ -> assert(whole[i]); i++
       :: else -> break
       od;
       assert(floor_ + 1 >= flushed);
       break
     }
  od
}
#endif
