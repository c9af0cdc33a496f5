"""What a captured function has enqueued, as a graph that is made better and replayed.

==================  ======================================================================
module              holds
==================  ======================================================================
``ir``              blocks of memory, and the launches and copies that read and write them
``recorder``        keeps what a stream enqueues
``cleaning``        leaves out what need not be done
``transposes``      lets products read and write arrays whose axes are in another order
``folding``         folds normalisations by fixed moments into products
``hoisting``        takes out what does not change from replay to replay
``fusion``          formulas of elementwise launches, put into each other
``endings``         what products do with their elements
``prologues``       what reductions compute of what they read
``merging``         makes one launch of several
``recomputation``   what gradients compute again rather than be given
``optimize``        all of that
``lifetimes``       when arrays are needed
``arena``           where the arrays lie that live only within a replay
``binding``         kernels whose arguments are set, and set again where they change
``command_buffer``  launches that are enqueued by one call
``replay``          enqueues a graph again and again
``show``            prints it
==================  ======================================================================
"""

from clgrad.graph.show import show

__all__ = ["show"]
