USE [Payroll]
GO
SET ANSI_NULLS ON
GO
SET QUOTED_IDENTIFIER ON
GO
IF OBJECT_ID(N'dbo.usp_CloseMonth', N'P') IS NOT NULL
    DROP PROCEDURE dbo.usp_CloseMonth;
GO
-- =============================================
-- Description: Closes a month: sums up the hours, writes the pay lines, locks the time sheets
-- =============================================
CREATE PROCEDURE [dbo].[usp_CloseMonth]
    @Month      date,
    @DryRun     bit = 0,
    @RowsPaid   int = NULL OUTPUT
AS
BEGIN
    SET NOCOUNT, XACT_ABORT ON;

    DECLARE @First date = DATEFROMPARTS(YEAR(@Month), MONTH(@Month), 1);
    DECLARE @Next  date = DATEADD(MONTH, 1, @First);

    IF EXISTS (SELECT 1 FROM dbo.ClosedMonth WITH (UPDLOCK, HOLDLOCK) WHERE FirstDay = @First)
    BEGIN
        RAISERROR (N'The month %s is closed already.', 16, 1, @First);
        RETURN 1;
    END;

    CREATE TABLE #Pay (
        EmployeeId  int           NOT NULL PRIMARY KEY CLUSTERED,
        Hours       decimal(7, 2) NOT NULL,
        Overtime    decimal(7, 2) NOT NULL,
        Gross       money         NULL
    );

    INSERT INTO #Pay (EmployeeId, Hours, Overtime)
    SELECT t.EmployeeId,
           SUM(t.Minutes) / 60.0,
           CASE WHEN SUM(t.Minutes) > c.MonthlyMinutes THEN (SUM(t.Minutes) - c.MonthlyMinutes) / 60.0 ELSE 0 END
    FROM dbo.TimeSheet AS t
    INNER JOIN dbo.Contract AS c
        ON c.EmployeeId = t.EmployeeId
       AND @First BETWEEN c.ValidFrom AND ISNULL(c.ValidUntil, '99991231')
    WHERE t.WorkDay >= @First
      AND t.WorkDay < @Next
      AND t.Approved = 1
    GROUP BY t.EmployeeId, c.MonthlyMinutes;

    UPDATE p
    SET Gross = ROUND((p.Hours - p.Overtime) * c.HourlyRate + p.Overtime * c.HourlyRate * 1.25, 2)
    FROM #Pay AS p
    CROSS APPLY (
        SELECT TOP (1) HourlyRate
        FROM dbo.Contract
        WHERE EmployeeId = p.EmployeeId AND ValidFrom <= @First
        ORDER BY ValidFrom DESC
    ) AS c;

    IF @DryRun = 1
    BEGIN
        SELECT e.LastName + N', ' + e.FirstName AS [Name], p.*
        FROM #Pay AS p INNER JOIN dbo.Employee AS e ON e.Id = p.EmployeeId
        ORDER BY [Name];
        RETURN 0;
    END;

    BEGIN TRY
        BEGIN TRANSACTION;
        INSERT INTO dbo.PayLine (EmployeeId, FirstDay, Hours, Overtime, Gross)
        SELECT EmployeeId, @First, Hours, Overtime, Gross FROM #Pay;
        SET @RowsPaid = @@ROWCOUNT;

        UPDATE dbo.TimeSheet SET Locked = 1 WHERE WorkDay >= @First AND WorkDay < @Next;
        INSERT INTO dbo.ClosedMonth (FirstDay, ClosedBy) VALUES (@First, SUSER_SNAME());
        COMMIT TRANSACTION;
    END TRY
    BEGIN CATCH
        IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
        THROW;
    END CATCH;
END
GO
GRANT EXECUTE ON dbo.usp_CloseMonth TO PayrollClerk;
GO
