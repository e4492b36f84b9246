// The dashboard's chart.

import { startChart } from "./price-chart.js";

startChart()?.begin();
