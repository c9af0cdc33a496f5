"""What a captured function has enqueued, as a graph that is made better and replayed.

===========  ========================================================================
module       holds
===========  ========================================================================
``ir``       blocks of memory, and the launches and copies that read and write them
``recorder`` keeps what a stream enqueues
``arena``    where the arrays lie that live only within a replay
``replay``   enqueues a graph again and again
===========  ========================================================================
"""
