/* The queue: who waits gets a slot (core/admission.py, claiming.claim and _in_line). Three nodes reboot again and again, for ever.

   Each has the limits of its mask N0, N1, N2; each limit has one slot. Read and claim are one step here (slots.pml parts them: a
   conflict means that somebody else got on). Node 2 may also leave the queue at any time (LEAVER) or stand in it for ever without
   claiming, its session alive (SLEEPER). The fleet is paused and resumed once (PAUSE).
   POLL: waiters look again by themselves; without it only what they watch wakes them, so that a watch too few is found.
   A ticket is old when two grants have passed it; it is skipped when it could claim in two looks and did not.
   Property, under weak fairness: node WHO holds again and again; and no end in which everybody waits. */
#ifndef N0
#define N0 1
#endif
#ifndef N1
#define N1 1
#endif
#ifndef N2
#define N2 1
#endif
#ifndef WHO
#define WHO 0
#endif
#ifndef WATCHERS
#define WATCHERS 8
#endif
#define NEED(j) (j==0 -> N0 : (j==1 -> N1 : N2))
byte q[3];                                      /* the queue, by create revision: node + 1 */
byte taken;                                     /* limits that are held */
bit held[3], pz;
byte age[3];                                    /* grants that this ticket has seen pass, up to 2 */
byte seen0[3], seen1[3];                        /* looks in which node 0, node 1 saw it claimable, up to 2: then it is skipped */
byte wg[3]; bit wc[3];                          /* what wakes a waiter: guards of these limits, the ticket in front, cfg */
byte wf[3]; bit awake[3];
#define SEEN(i,j) (i==0 -> seen0[j] : (i==1 -> seen1[j] : 0))

inline wake_guard(m) { awake[0]=awake[0]||((wg[0]&(m))!=0); awake[1]=awake[1]||((wg[1]&(m))!=0); awake[2]=awake[2]||((wg[2]&(m))!=0) }
inline wake_ticket(j) { awake[0]=awake[0]||(wf[0]==j+1); awake[1]=awake[1]||(wf[1]==j+1); awake[2]=awake[2]||(wf[2]==j+1) }
inline wake_cfg() { awake[0]=awake[0]||wc[0]; awake[1]=awake[1]||wc[1]; awake[2]=awake[2]||wc[2] }
inline out(i) {                                 /* the ticket goes */
  if :: q[0]==i+1 -> q[0]=q[1]; q[1]=q[2]; q[2]=0 :: q[1]==i+1 -> q[1]=q[2]; q[2]=0 :: q[2]==i+1 -> q[2]=0 :: else fi;
  age[i]=0; seen0[i]=0; seen1[i]=0; wg[i]=0; wf[i]=0; wc[i]=0; wake_ticket(i) }
inline seen(i,j) {                              /* who is awake claims within the 30 s that the others wait: only a sleeper is skipped */
#ifdef SLEEPER
#ifndef NOSKIP
  if :: i==0 && j==2 && seen0[j]<2 -> seen0[j]++ :: i==1 && j==2 && seen1[j]<2 -> seen1[j]++ :: else fi;
#endif
#endif
  skip }
inline look(i) {                                /* the walk; go: 1 claim */
  go=0; fr=7-taken; p=0; blocked=0; ahead=0; wg[i]=0; wf[i]=0; wc[i]=0; awake[i]=0;
  do
  :: p<3 && q[p]!=0 -> j=q[p]-1;
     if
     :: j==i -> break
     :: j!=i && SEEN(i,j)>=2 -> wf[i]=j+1                                    /* skipped */
     :: else ->
        wf[i]=j+1;
        if :: (NEED(j)&(7-fr))==0 -> fr=fr&(7-NEED(j)); if :: !pz -> seen(i,j) :: else fi
           :: else -> if :: (NEED(j)&NEED(i)&(7-fr))!=0 -> ahead++ :: else fi;
#ifndef NORESERVE
              if :: age[j]>=2 -> fr=fr&(7-NEED(j)) :: else fi
#else
              skip
#endif
        fi
     fi; p++
  :: else -> break
  od;
  blocked=NEED(i)&(7-fr);
  if :: pz ->                                                                /* paused: no gate, the ticket stays */
#ifndef NOCFGWATCH
          if :: p<WATCHERS -> wc[i]=1; wf[i]=0 :: else fi
#else
          wf[i]=0
#endif
     :: !pz && blocked==0 -> go=1
     :: else -> if :: ahead<WATCHERS -> wg[i]=blocked; wc[i]=1;
                     if :: (blocked&taken)==blocked -> wf[i]=0               /* no slot: the guard tells */
#ifdef GUARD_ONLY
                        :: else -> wf[i]=0
#else
                        :: else -> skip                                      /* free, but taken on paper: the one in front, too */
#endif
                     fi
                :: else -> skip fi
  fi; fr=0; p=0; j=0; blocked=0; ahead=0 }

proctype node(byte i) { byte fr, p, j, blocked, ahead; bit go;
enq: atomic { if :: q[0]==0 -> q[0]=i+1 :: q[0]!=0 && q[1]==0 -> q[1]=i+1 :: else -> q[2]=i+1 fi; awake[i]=1 };
#ifdef SLEEPER
  if :: i==2 -> goto endsleep :: else fi;
#endif
wait: if
#ifdef POLL
  :: atomic { true ->
#else
  :: atomic { awake[i] ->
#endif
       look(i);
       if :: go -> go=0; assert((taken&NEED(i))==0); taken=taken|NEED(i); out(i); wake_guard(NEED(i)); held[i]=1;
               age[0]=(q[0]==1||q[1]==1||q[2]==1 -> (age[0]<2 -> age[0]+1 : 2) : 0);
               age[1]=(q[0]==2||q[1]==2||q[2]==2 -> (age[1]<2 -> age[1]+1 : 2) : 0);
               age[2]=(q[0]==3||q[1]==3||q[2]==3 -> (age[2]<2 -> age[2]+1 : 2) : 0); goto hold
          :: else -> goto wait fi }
#ifdef LEAVER
  :: atomic { i==2 -> out(2); goto enq }
#endif
  fi;
hold: atomic { held[i]=0; taken=taken&(7-NEED(i)); wake_guard(NEED(i)) }; goto enq;
endsleep: false
}
#ifdef PAUSE
proctype oper() { atomic { pz=1; wake_cfg() }; atomic { pz=0; wake_cfg() } }
#endif
init { atomic { run node(0); run node(1); run node(2);
#ifdef PAUSE
  run oper()
#endif
  } }
ltl served { [] <> (held[WHO]) }
