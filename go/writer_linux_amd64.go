package sigward

const sysPwritev2 = 328
