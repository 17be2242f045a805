package sigward

const sysPwritev2 = 287
